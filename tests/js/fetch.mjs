// Embeds with fetch alone, over a body that is streamed, and prints what it got as JSON.
// Reads {baseURL, apiKey, model, texts} from its standard input.

import { text } from "node:stream/consumers";

const { baseURL, apiKey, model, texts } = JSON.parse(await text(process.stdin));

async function embed(body, options = {}) {
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
  const response = await fetch(`${baseURL}/embeddings`, { method: "POST", headers, body, ...options });
  return { status: response.status, id: response.headers.get("x-request-id"), answer: await response.json() };
}

const body = JSON.stringify({ model, input: texts });
const streamed = new Blob([body]).stream();

console.log(
  JSON.stringify({
    whole: await embed(body),
    streamed: await embed(streamed, { duplex: "half" }),
    refused: await embed("{"),
  }),
);
