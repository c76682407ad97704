import { beforeEach, describe, expect, test } from "vitest";
import { internal } from "../functions/_generated/api";
import type { FailureRow, RequestRow, UsageRow } from "../functions/model/records";
import { type Backend, backend, batchOf, DAY, failure, MINUTE, NOON, request, rowsOf } from "./support";

const { failures, logAuthFailure, logRequest, usage } = internal.embeddings;

let convex: Backend;

beforeEach(() => {
  convex = backend();
});

const log = (batchId: string, ...requests: RequestRow[]) =>
  convex.mutation(logRequest, { batchId, requests });
const logFailures = (batchId: string, ...rows: FailureRow[]) =>
  convex.mutation(logAuthFailure, { batchId, failures: rows });
const used = async (firstDay = "2026-11-25", lastDay = firstDay) =>
  (await convex.query(usage, { firstDay, lastDay, cursor: null, limit: 1000 })).rows;

describe("logRequest", () => {
  test("keeps every row of a batch, and the batch's id with it", async () => {
    expect(await log("batch-1", request(), request({ requestId: "req-2" }))).toEqual({
      inserted: 2,
      duplicate: false,
    });
    expect(await rowsOf(convex, "embeddingRequests")).toMatchObject([
      { ...request(), batchId: "batch-1" },
      { ...request({ requestId: "req-2" }), batchId: "batch-1" },
    ]);
  });

  test("changes nothing the second time that a batch comes", async () => {
    await log("batch-1", request());
    const before = await used();
    expect(await log("batch-1", request())).toEqual({ inserted: 0, duplicate: true });
    expect(await rowsOf(convex, "embeddingRequests")).toHaveLength(1);
    expect(await used()).toEqual(before);
  });

  test("keeps a batch once that comes twice at the same time", async () => {
    const outcomes = await Promise.all([log("batch-1", request()), log("batch-1", request())]);
    expect(outcomes.map(({ inserted }) => inserted).sort()).toEqual([0, 1]);
  });

  test("keeps alike rows of other batches", async () => {
    await log("batch-1", request());
    await log("batch-2", request());
    expect(await rowsOf(convex, "embeddingRequests")).toHaveLength(2);
  });

  test("keeps nothing of an empty batch", async () => {
    expect(await log("batch-1")).toEqual({ inserted: 0, duplicate: false });
    expect(await rowsOf(convex, "embeddingUsage")).toEqual([]);
  });

  test("keeps nothing of a batch that has one bad row", async () => {
    const bad = { ...request(), tokens: "many" } as unknown as RequestRow;
    await expect(log("batch-1", request(), bad)).rejects.toThrow("Validator error");
    expect(await rowsOf(convex, "embeddingRequests")).toEqual([]);
  });

  test("takes 200 rows of as many keys within the limits of one transaction", async () => {
    const rows = batchOf(200, (index) => request({ requestId: `req-${index}`, keyHash: `k${index}` }));
    expect(await log("batch-1", ...rows)).toEqual({ inserted: 200, duplicate: false });
    expect(await log("batch-2", ...rows)).toEqual({ inserted: 200, duplicate: false });
    expect(await used()).toHaveLength(200);
  });
});

describe("usage", () => {
  const total = (fields: Partial<UsageRow> = {}): UsageRow => ({
    day: "2026-11-25",
    keyHash: "a1",
    identity: "",
    model: "all-mpnet-base-v2",
    requests: 1,
    errors: 0,
    inputs: 2,
    tokens: 30,
    cached: 1,
    latencyMs: 12.5,
    slowestMs: 12.5,
    ...fields,
  });

  test("sums the requests of a day, over rows and batches", async () => {
    await log("batch-1", request(), request({ inputs: 5, tokens: 70, cached: 0, latencyMs: 40 }));
    await log("batch-2", request({ latencyMs: 1 }));
    expect(await used()).toEqual([
      total({ requests: 3, inputs: 9, tokens: 130, cached: 2, latencyMs: 53.5, slowestMs: 40 }),
    ]);
  });

  test("counts those that failed", async () => {
    await log(
      "batch-1",
      request(),
      request({ outcome: "UNAVAILABLE" }),
      request({ outcome: "INTERNAL", requests: 4 }),
    );
    expect(await used()).toMatchObject([{ requests: 6, errors: 5 }]);
  });

  test("takes the mean of a row as its slowest, since a row may stand for many requests", async () => {
    await log("batch-1", request({ latencyMs: 20 }), request({ requests: 10, latencyMs: 100 }));
    expect(await used()).toMatchObject([{ requests: 11, latencyMs: 120, slowestMs: 20 }]);
  });

  test("does not divide by the requests of a row that stands for none", async () => {
    await log("batch-1", request({ requests: 0, latencyMs: 7 }));
    expect(await used()).toMatchObject([{ requests: 0, slowestMs: 7 }]);
  });

  test("keeps days, keys, identities and models apart", async () => {
    await log(
      "batch-1",
      request(),
      request({ at: NOON + DAY / 2 }),
      request({ keyHash: "b2" }),
      request({ keyHash: "", identity: "spiffe://example.org/search" }),
      request({ model: "all-MiniLM-L6-v2" }),
    );
    expect((await used("2026-11-25", "2026-11-26")).map(({ requests }) => requests)).toEqual([1, 1, 1, 1, 1]);
  });

  test("takes a day from midnight to midnight in UTC", async () => {
    const midnight = Date.UTC(2026, 10, 26);
    await log("batch-1", request({ at: midnight - 1 }), request({ at: midnight }));
    expect((await used("2026-11-25", "2026-11-26")).map(({ day }) => day)).toEqual([
      "2026-11-25",
      "2026-11-26",
    ]);
  });

  test("counts both days of a span in, and no others", async () => {
    await log("batch-1", ...batchOf(5, (index) => request({ at: NOON + index * DAY })));
    expect((await used("2026-11-26", "2026-11-28")).map(({ day }) => day)).toEqual([
      "2026-11-26",
      "2026-11-27",
      "2026-11-28",
    ]);
  });

  test("goes page by page", async () => {
    await log("batch-1", ...batchOf(3, (index) => request({ keyHash: `k${index}` })));
    const span = { firstDay: "2026-11-25", lastDay: "2026-11-25", limit: 2 };
    const first = await convex.query(usage, { ...span, cursor: null });
    const second = await convex.query(usage, { ...span, cursor: first.cursor });
    expect([first, second].map(({ rows }) => rows.map(({ keyHash }) => keyHash))).toEqual([
      ["k0", "k1"],
      ["k2"],
    ]);
    expect(second.cursor).toBeNull();
  });
});

describe("logAuthFailure", () => {
  test("keeps the rows of a batch once", async () => {
    expect(await logFailures("batch-1", failure())).toEqual({ inserted: 1, duplicate: false });
    expect(await logFailures("batch-1", failure())).toEqual({ inserted: 0, duplicate: true });
    expect(await rowsOf(convex, "embeddingAuthFailures")).toMatchObject([
      { ...failure(), batchId: "batch-1" },
    ]);
  });

  test("does not take a batch of requests for one of failures", async () => {
    await log("batch-1", request());
    expect(await logFailures("batch-1", failure())).toEqual({ inserted: 1, duplicate: false });
  });

  test("keeps nothing of an empty batch", async () => {
    expect(await logFailures("batch-1")).toEqual({ inserted: 0, duplicate: false });
  });

  test("takes 200 rows within the limits of one transaction", async () => {
    expect(await logFailures("batch-1", ...batchOf(200, () => failure()))).toMatchObject({ inserted: 200 });
  });
});

describe("failures", () => {
  test("returns those since a time, the latest first, without their batch", async () => {
    await logFailures(
      "batch-1",
      ...[-2, 0, 3, 1].map((minutes) => failure({ lastAt: NOON + minutes * MINUTE })),
    );
    expect(await convex.query(failures, { since: NOON, limit: 10 })).toEqual(
      [3, 1, 0].map((minutes) => failure({ lastAt: NOON + minutes * MINUTE })),
    );
  });

  test("returns no more than it is asked for", async () => {
    await logFailures("batch-1", ...batchOf(5, (index) => failure({ lastAt: NOON + index })));
    const found = await convex.query(failures, { since: 0, limit: 2 });
    expect(found.map(({ lastAt }) => lastAt)).toEqual([NOON + 4, NOON + 3]);
  });
});
