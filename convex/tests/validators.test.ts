/** Every function refuses what it does not know, and none is public. */

import { makeFunctionReference } from "convex/server";
import { describe, expect, test } from "vitest";
import * as embeddings from "../functions/embeddings";
import { backend, failure, key, NOON, request, route, want, wholeKey } from "./support";

const CALLS: [keyof typeof embeddings, Record<string, unknown>][] = [
  ["lookupKeys", { keyHashes: ["a1"] }],
  ["listKeys", { cursor: null, limit: 1 }],
  ["createKey", { key: key("a1") }],
  ["rotateKey", { keyHash: "a1", successor: key("b2"), expiresAt: NOON }],
  ["revokeKey", { keyHash: "a1", at: NOON }],
  ["touchKeys", { used: [{ keyHash: "a1", at: NOON }] }],
  ["checkRateLimit", { wants: [want()] }],
  ["logRequest", { batchId: "batch-1", requests: [request()] }],
  ["logAuthFailure", { batchId: "batch-1", failures: [failure()] }],
  ["usage", { firstDay: "2026-11-25", lastDay: "2026-11-25", cursor: null, limit: 1 }],
  ["failures", { since: 0, limit: 1 }],
  ["routes", {}],
  ["setRoute", { route: route("text-embedding-3-small") }],
  ["removeRoute", { alias: "text-embedding-3-small" }],
  ["purge", { before: 0, usageBeforeDay: "2026-11-25", limit: 1 }],
  ["purgeOld", {}],
];

const RECORDS: [keyof typeof embeddings, string, object][] = [
  ["createKey", "key", wholeKey("a1")],
  ["touchKeys", "used", { keyHash: "a1", at: NOON }],
  ["checkRateLimit", "wants", want()],
  ["logRequest", "requests", request()],
  ["logAuthFailure", "failures", failure()],
  ["setRoute", "route", route("text-embedding-3-small")],
];

/** What Convex's builders make of a function, and do not show in its type. */
const registered = (name: keyof typeof embeddings) =>
  embeddings[name] as unknown as { isInternal?: boolean; isQuery?: boolean; exportReturns(): string };

function call(name: keyof typeof embeddings, args: Record<string, unknown>) {
  const convex = backend();
  return registered(name).isQuery
    ? convex.query(makeFunctionReference<"query">(`embeddings:${name}`), args)
    : convex.mutation(makeFunctionReference<"mutation">(`embeddings:${name}`), args);
}

test("these are all the functions that there are", () => {
  expect(CALLS.map(([name]) => name).sort()).toEqual(Object.keys(embeddings).sort());
});

describe.each(CALLS)("%s", (name, args) => {
  test("is internal, and says what it returns", () => {
    expect(registered(name).isInternal).toBe(true);
    expect(JSON.parse(registered(name).exportReturns())).not.toBeNull();
  });

  test("refuses an argument that it does not have", async () => {
    await expect(call(name, { ...args, extra: 1 })).rejects.toThrow("Unexpected field `extra`");
  });

  test.each(Object.keys(args))("does not do without %s", async (left) => {
    const { [left]: _, ...others } = args;
    await expect(call(name, others)).rejects.toThrow(`Missing required field \`${left}\``);
  });
});

describe.each(RECORDS)("%s", (name, field, record) => {
  const args = CALLS.find(([each]) => each === name)![1];
  const given = (changed: object) => ({ ...args, [field]: Array.isArray(args[field]) ? [changed] : changed });

  test(`refuses a field in ${field} that it does not have`, async () => {
    await expect(call(name, given({ ...record, extra: 1 }))).rejects.toThrow("Unexpected field `extra`");
  });

  test.each(Object.keys(record))(`refuses null for ${field}.%s`, async (left) => {
    await expect(call(name, given({ ...record, [left]: null }))).rejects.toThrow();
  });
});

test("a key's injection policy is one of three", async () => {
  for (const injection of ["reject", "flag", "off"])
    await call("createKey", { key: { ...key("a1"), injection } });
  await expect(call("createKey", { key: { ...key("a1"), injection: "allow" } })).rejects.toThrow(
    "Validator error",
  );
});

test("what keeps a caller on its side is one of two", async () => {
  for (const sticky of ["key", "index"])
    await call("setRoute", { route: { ...route("text-embedding-3-small"), sticky } });
  await expect(
    call("setRoute", { route: { ...route("text-embedding-3-small"), sticky: "day" } }),
  ).rejects.toThrow("Validator error");
});
