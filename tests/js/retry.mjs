// Asks with OpenAI's SDK for JavaScript until an answer took more than one try or there is none, and prints the tries as JSON.
// Reads {baseURL, apiKey, model, asks, maxRetries} from its standard input.

import { text } from "node:stream/consumers";
import OpenAI from "openai";

const { asks, model, ...options } = JSON.parse(await text(process.stdin));
const tries = [];

async function noting(url, init) {
  const response = await fetch(url, init);
  const wait = Number(response.headers.get("retry-after") ?? 0);
  tries.push({ status: response.status, wait, at: performance.now() / 1000 });
  return response;
}

const client = new OpenAI({ ...options, fetch: noting });
try {
  for (let asked = 1; asked < asks && tries.length < asked; asked += 1) {
    await client.embeddings.create({ model, input: "good" });
  }
} catch (error) {
  if (!(error instanceof OpenAI.RateLimitError)) throw error;
}
console.log(JSON.stringify(tries));
