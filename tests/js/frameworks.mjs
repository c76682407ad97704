// Embeds with LangChain.js and with the AI SDK, as their users write it, and prints the vectors as JSON.
// Reads {baseURL, apiKey, model, texts} from its standard input.

import { text } from "node:stream/consumers";
import { createOpenAI } from "@ai-sdk/openai";
import { OpenAIEmbeddings } from "@langchain/openai";
import { embed, embedMany } from "ai";

const { baseURL, apiKey, model, texts } = JSON.parse(await text(process.stdin));

const langchain = new OpenAIEmbeddings({ model, apiKey, configuration: { baseURL } });
const provider = createOpenAI({ baseURL, apiKey });
const many = await embedMany({ model: provider.embedding(model), values: texts });
const one = await embed({ model: provider.embedding(model), value: texts[0] });

console.log(
  JSON.stringify({
    langchain: await langchain.embedDocuments(texts),
    langchainQuery: [await langchain.embedQuery(texts[0])],
    ai: many.embeddings,
    aiQuery: [one.embedding],
    aiTokens: many.usage.tokens,
  }),
);
