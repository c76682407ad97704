// Embeds with OpenAI's SDK for JavaScript, and prints what it got as JSON.
// Reads {baseURL, apiKey, model, texts} from its standard input.

import { text } from "node:stream/consumers";
import OpenAI from "openai";

const { baseURL, apiKey, model, texts } = JSON.parse(await text(process.stdin));
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

// Resolves to what a caller sees of an error.
async function errorOf(promise) {
  try {
    await promise;
  } catch ({ constructor, status, type, code, param, message }) {
    return { name: constructor.name, status, type, code, param, message };
  }
  throw new Error("nothing was refused");
}

const stranger = new OpenAI({ baseURL, apiKey: "emb_wrong", maxRetries: 0 });
const models = await client.models.list();
const given = { headers: { "x-request-id": "js-1" } };
const { data, response, request_id } = await client.embeddings.create({ model, input: "a" }, given).withResponse();
const raw = await client.embeddings.create({ model, input: "a" }).asResponse();

console.log(
  JSON.stringify({
    byDefault: await client.embeddings.create({ model, input: texts }),
    floats: await client.embeddings.create({ model, input: texts, encoding_format: "float" }),
    single: await client.embeddings.create({ model: "text-embedding-3-small", input: texts[0] }),
    models: models.data,
    model: await client.models.retrieve("sentence-transformers/all-MiniLM-L6-v2"),
    raw: { status: response.status, requestId: request_id, id: data._request_id, body: await raw.json() },
    errors: {
      badRequest: await errorOf(client.embeddings.create({ model, input: "" })),
      notFound: await errorOf(client.embeddings.create({ model: "nope", input: "a" })),
      unserved: await errorOf(client.chat.completions.create({ model, messages: [] })),
      authentication: await errorOf(stranger.embeddings.create({ model, input: "a" })),
    },
  }),
);
