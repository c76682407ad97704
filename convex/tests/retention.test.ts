import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { internal } from "../functions/_generated/api";
import crons from "../functions/crons";
import { AT_ONCE } from "../functions/model/retention";
import { type Backend, backend, batchOf, DAY, failure, NOON, request, rowsOf, type Table } from "./support";

const { logAuthFailure, logRequest, purge, purgeOld } = internal.embeddings;
const TABLES: Table[] = ["embeddingRequests", "embeddingAuthFailures", "embeddingUsage"];

let convex: Backend;
let batches = 0;

beforeEach(() => {
  convex = backend();
});

const log = (...times: number[]) =>
  convex.mutation(logRequest, {
    batchId: `batch-${batches++}`,
    requests: times.map((at) => request({ at })),
  });
const logFailures = (...times: number[]) =>
  convex.mutation(logAuthFailure, {
    batchId: `batch-${batches++}`,
    failures: times.map((lastAt) => failure({ lastAt })),
  });
const counts = async () =>
  (await Promise.all(TABLES.map((table) => rowsOf(convex, table)))).map(({ length }) => length);

describe("purge", () => {
  test("deletes what is older than given of each log, and says how many rows", async () => {
    await log(NOON - DAY, NOON - 1, NOON, NOON + 1);
    await logFailures(NOON - 1, NOON);
    const deleted = await convex.mutation(purge, { before: NOON, usageBeforeDay: "2026-11-25", limit: 100 });
    expect(deleted).toBe(4);
    expect(await counts()).toEqual([2, 1, 1]);
  });

  test("goes on where it stopped, a limited number of rows at a time", async () => {
    await log(...batchOf(5, (index) => NOON - index * DAY));
    await logFailures(NOON, NOON);
    const bounds = { before: NOON + 1, usageBeforeDay: "2026-11-26", limit: 5 };
    const steps = [];
    for (let step = 0; step < 4; step++) steps.push(await convex.mutation(purge, bounds));
    expect(steps).toEqual([5, 5, 2, 0]);
    expect(await counts()).toEqual([0, 0, 0]);
  });

  test("never touches keys", async () => {
    await convex.run((ctx) =>
      ctx.db.insert("embeddingApiKeys", {
        keyHash: "a1",
        prefix: "",
        name: "",
        owner: "",
        models: [],
        calls: [],
        limits: { quotaSeconds: 1 },
        createdAt: 0,
      }),
    );
    expect(await convex.mutation(purge, { before: NOON, usageBeforeDay: "2026-11-25", limit: 10 })).toBe(0);
  });
});

describe("purgeOld", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: NOON });
  });

  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllEnvs();
  });

  const runCron = async () => {
    await convex.mutation(purgeOld, {});
    await convex.finishAllScheduledFunctions(vi.runAllTimers);
  };

  test("keeps requests and failures for 30 days, and usage for 400", async () => {
    const times = [NOON - 401 * DAY, NOON - 400 * DAY, NOON - 31 * DAY, NOON - 30 * DAY];
    await log(...times);
    await logFailures(...times);
    await runCron();
    expect(await counts()).toEqual([1, 1, 3]);
  });

  test("keeps them for as long as the environment of the deployment says", async () => {
    vi.stubEnv("EMBEDDINGS_RETENTION_DAYS", "2");
    vi.stubEnv("EMBEDDINGS_USAGE_RETENTION_DAYS", "3");
    await log(...batchOf(6, (index) => NOON - index * DAY));
    await runCron();
    expect(await counts()).toEqual([3, 0, 4]);
  });

  test.each(["0", "-1", "a month", "NaN"])("deletes nothing where the environment says %j", async (days) => {
    vi.stubEnv("EMBEDDINGS_RETENTION_DAYS", days);
    await log(NOON - 1000 * DAY);
    await expect(convex.mutation(purgeOld, {})).rejects.toThrow(
      "EMBEDDINGS_RETENTION_DAYS must be a number of days",
    );
    expect(await counts()).toEqual([1, 0, 1]);
  });

  test("goes on by itself until nothing old is left", async () => {
    for (let batch = 0; batch < 3; batch++) {
      await log(...batchOf(AT_ONCE / 2 + 1, () => NOON - 100 * DAY));
    }
    await convex.mutation(purgeOld, {});
    expect(await counts()).toEqual([503, 0, 1]);
    await convex.finishAllScheduledFunctions(vi.runAllTimers);
    expect(await counts()).toEqual([0, 0, 1]);
  });

  test("runs every hour", () => {
    expect(Object.values(crons.crons)).toMatchObject([
      { name: "embeddings:purgeOld", args: [{}], schedule: { type: "hourly", minuteUTC: 17 } },
    ]);
  });
});
