import { beforeEach, describe, expect, test } from "vitest";
import { internal } from "../functions/_generated/api";
import { type Backend, backend, batchOf, DAY, key, MINUTE, NOON, rowsOf, wholeKey } from "./support";

const { createKey, listKeys, lookupKeys, revokeKey, rotateKey, touchKeys } = internal.embeddings;

let convex: Backend;

beforeEach(() => {
  convex = backend();
});

const keep = (...keys: ReturnType<typeof key>[]) =>
  Promise.all(keys.map((each) => convex.mutation(createKey, { key: each })));
const found = async (keyHash: string) => (await convex.query(lookupKeys, { keyHashes: [keyHash] }))[0];
const refusal = (kind: string) => ({ data: { kind } });

describe("lookupKeys", () => {
  test("returns a key with every field that it was made with, and nothing of Convex's own", async () => {
    await keep(wholeKey("a1"));
    expect(await convex.query(lookupKeys, { keyHashes: ["a1"] })).toEqual([wholeKey("a1")]);
  });

  test("leaves what is not known absent", async () => {
    await keep(key("a1"));
    expect(Object.keys((await found("a1"))!)).not.toContain("expiresAt");
  });

  test("passes over unknown hashes, and returns a key once however often it is asked for", async () => {
    await keep(key("a1"), key("b2"));
    const keys = await convex.query(lookupKeys, { keyHashes: ["b2", "none", "a1", "b2"] });
    expect(keys.map((each) => each.keyHash)).toEqual(["b2", "a1"]);
  });

  test("returns nothing for nothing", async () => {
    expect(await convex.query(lookupKeys, { keyHashes: [] })).toEqual([]);
  });
});

describe("listKeys", () => {
  test("goes through all keys page by page, the oldest first", async () => {
    await keep(...batchOf(5, (index) => key(`k${index}`, { createdAt: NOON - index })));
    const pages: string[][] = [];
    let cursor: string | null = null;
    do {
      const page: { keys: { keyHash: string }[]; cursor: string | null } = await convex.query(listKeys, {
        cursor,
        limit: 2,
      });
      pages.push(page.keys.map((each) => each.keyHash));
      cursor = page.cursor;
    } while (cursor !== null);
    expect(pages).toEqual([["k4", "k3"], ["k2", "k1"], ["k0"]]);
  });

  test("has a page without keys, and none after it, where there are none", async () => {
    expect(await convex.query(listKeys, { cursor: null, limit: 10 })).toEqual({ keys: [], cursor: null });
  });
});

describe("createKey", () => {
  test("refuses a second key with the same hash, and leaves the first as it was", async () => {
    await keep(key("a1"));
    await expect(keep(key("a1", { name: "other" }))).rejects.toMatchObject(refusal("exists"));
    expect(await found("a1")).toEqual(key("a1"));
  });
});

describe("rotateKey", () => {
  const rotate = (keyHash: string, expiresAt = NOON + DAY) =>
    convex.mutation(rotateKey, { keyHash, successor: key("b2"), expiresAt });

  test("keeps the successor, and lets the old key expire", async () => {
    await keep(key("a1"));
    await rotate("a1");
    expect(await found("a1")).toEqual(key("a1", { successor: "b2", expiresAt: NOON + DAY }));
    expect(await found("b2")).toEqual(key("b2"));
  });

  test("never lets the old key live longer than it would have", async () => {
    await keep(key("a1", { expiresAt: NOON + MINUTE }));
    await rotate("a1");
    expect(await found("a1")).toMatchObject({ expiresAt: NOON + MINUTE });
  });

  test("refuses a key that is not there", async () => {
    await expect(rotate("a1")).rejects.toMatchObject(refusal("unknown"));
  });

  test("refuses a revoked key", async () => {
    await keep(key("a1", { revokedAt: NOON }));
    await expect(rotate("a1")).rejects.toMatchObject(refusal("revoked"));
  });

  test("refuses a key that has a successor", async () => {
    await keep(key("a1", { successor: "c3" }));
    await expect(rotate("a1")).rejects.toMatchObject(refusal("rotated"));
  });

  test("changes nothing where the successor's hash is taken", async () => {
    await keep(key("a1"), key("b2"));
    await expect(rotate("a1")).rejects.toMatchObject(refusal("exists"));
    expect(await found("a1")).toEqual(key("a1"));
  });

  test("makes one successor when two ask at once", async () => {
    await keep(key("a1"));
    const outcomes = await Promise.allSettled(
      ["b2", "c3"].map((hash) =>
        convex.mutation(rotateKey, { keyHash: "a1", successor: key(hash), expiresAt: NOON }),
      ),
    );
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(await rowsOf(convex, "embeddingApiKeys")).toHaveLength(2);
  });
});

describe("revokeKey", () => {
  test("says when, and a second time changes nothing", async () => {
    await keep(key("a1"));
    await convex.mutation(revokeKey, { keyHash: "a1", at: NOON });
    await convex.mutation(revokeKey, { keyHash: "a1", at: NOON + MINUTE });
    expect(await found("a1")).toEqual(key("a1", { revokedAt: NOON }));
  });

  test("refuses a key that is not there", async () => {
    await expect(convex.mutation(revokeKey, { keyHash: "a1", at: NOON })).rejects.toMatchObject(
      refusal("unknown"),
    );
  });
});

describe("touchKeys", () => {
  const touch = (...used: { keyHash: string; at: number }[]) => convex.mutation(touchKeys, { used });

  test("notes the latest use, in whatever order servers say it", async () => {
    await keep(key("a1"), key("b2"));
    await touch(
      { keyHash: "a1", at: NOON + 2 },
      { keyHash: "b2", at: NOON },
      { keyHash: "a1", at: NOON + 1 },
    );
    await touch({ keyHash: "a1", at: NOON });
    expect(await found("a1")).toMatchObject({ usedAt: NOON + 2 });
    expect(await found("b2")).toMatchObject({ usedAt: NOON });
  });

  test("passes over keys that are not there", async () => {
    await touch({ keyHash: "none", at: NOON });
    expect(await rowsOf(convex, "embeddingApiKeys")).toEqual([]);
  });

  test("takes 200 keys at once", async () => {
    const hashes = batchOf(200, (index) => `k${index}`);
    await keep(...hashes.map((hash) => key(hash)));
    await touch(...hashes.map((keyHash) => ({ keyHash, at: NOON })));
    expect(
      (await convex.query(lookupKeys, { keyHashes: hashes })).every((each) => each.usedAt === NOON),
    ).toBe(true);
  });
});
