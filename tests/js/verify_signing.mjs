// Recomputes the test vectors of docs/signing.md with node:crypto, from docs/signing.md alone.
// Takes the file of vectors; prints how many agree, and fails at the first that does not.

import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const FORMS = {
  method: /^\/[A-Za-z0-9._]+\/[A-Za-z0-9_]+$/,
  time: /^(0|[1-9][0-9]{0,11})$/,
  nonce: /^[A-Za-z0-9_-]{16,64}$/,
  signer: /^[A-Za-z0-9._:/@-]{1,128}$/,
};

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

const isWellFormed = (vector) => Object.entries(FORMS).every(([name, form]) => form.test(vector[name]));

function recompute({ secret_hex, method, message_hex, authorization, time, nonce, signer }) {
  const digest = sha256(Buffer.from(message_hex, "hex"));
  const authorization_digest = sha256(Buffer.from(authorization, "utf8"));
  const canonical = ["embedsvc-v1", method, digest, authorization_digest, time, nonce, signer].join("\n");
  const hmac = createHmac("sha256", Buffer.from(secret_hex, "hex")).update(canonical, "ascii");
  return { digest, authorization_digest, canonical, signature: `v1=${hmac.digest("hex")}` };
}

const { valid, malformed } = JSON.parse(readFileSync(process.argv[2], "utf8"));

for (const vector of valid) {
  assert.ok(isWellFormed(vector), vector.name);
  const found = recompute(vector);
  const written = Object.fromEntries(Object.keys(found).map((name) => [name, vector[name]]));
  assert.deepEqual(found, written, vector.name);
}
for (const vector of malformed) {
  assert.ok(!isWellFormed({ ...valid[0], ...vector }), vector.name);
}
console.log(JSON.stringify({ valid: valid.length, malformed: malformed.length }));
