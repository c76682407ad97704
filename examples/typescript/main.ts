// Embeds a batch, then a stream of batches, over mTLS; prints a line of JSON for each answer.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { connect, failureOf, failureOfCall, type Failure } from "./client.ts";
import type { EmbedResponse } from "./gen/typescript/embedsvc/v1/embedding_pb.js";

const { values: chosen } = parseArgs({
  options: {
    target: { type: "string", default: "127.0.0.1:50051" }, // 127.0.0.1:50052 is Envoy
    certificates: { type: "string", default: ".run/certs" },
    key: { type: "string", default: ".run/api_key" },
  },
});

const client = connect({ ...chosen, key: readFileSync(chosen.key, "utf8").trim() });

// The second is refused: an input has at least one character.
const BATCHES = { greetings: ["Hello, world", "Guten Tag"], empty: [""], animals: ["fox", "🦊"] };

const batch = (texts: string[]) => ({
  inputs: texts.map((text) => ({ value: { case: "text" as const, value: text } })),
});

function show(what: string, result: EmbedResponse | Failure): void {
  const shown =
    "reason" in result
      ? result
      : result.embeddings.map(({ values }) => values.slice(0, 4).map((value) => Number(value.toFixed(4))));
  console.log(JSON.stringify({ [what]: shown }));
}

// One batch: answered whole, or refused whole.
async function embed(texts: string[]): Promise<void> {
  show("Embed", await client.embed(batch(texts)).catch(failureOfCall));
}

// Is asked for the next batch only when there is room for it: read your texts from here.
async function* requests() {
  for (const [id, texts] of Object.entries(BATCHES)) yield { id, request: batch(texts) };
}

// Any number of batches: each answer has the id of its batch, and a bad batch ends nothing else.
async function embedStream(): Promise<void> {
  for await (const { id, result } of client.embedStream(requests(), { timeoutMs: 0 })) {
    if (result.case) show(id, result.case === "error" ? failureOf(result.value) : result.value);
  }
}

await embed(BATCHES.greetings);
await embed(BATCHES.empty);
await embedStream();
