import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { internal } from "../functions/_generated/api";
import { limiter } from "../functions/model/limits";
import type { Want } from "../functions/model/records";
import { type Backend, backend, MINUTE, NOON, want } from "./support";

let convex: Backend;

beforeEach(() => {
  vi.useFakeTimers({ now: NOON });
  convex = backend();
});

afterEach(() => {
  vi.useRealTimers();
});

const lease = (...wants: Partial<Want>[]) =>
  convex.mutation(internal.embeddings.checkRateLimit, { wants: wants.map(want) });
const granted = async (...wants: Partial<Want>[]) => (await lease(...wants)).map(({ units }) => units);

describe("checkRateLimit", () => {
  test("grants what is wanted while there is enough, and says what is left", async () => {
    expect(await lease({ units: 50 })).toEqual([{ units: 50, remaining: 550, resetsInMs: MINUTE }]);
    expect(await lease({ units: 50 })).toEqual([{ units: 50, remaining: 500, resetsInMs: MINUTE }]);
  });

  test("grants the rest where there is less, and then nothing until the window ends", async () => {
    vi.advanceTimersByTime(1000);
    expect(await granted({ units: 580 })).toEqual([580]);
    vi.advanceTimersByTime(1000);
    expect(await lease({ units: 50 })).toEqual([{ units: 20, remaining: 0, resetsInMs: MINUTE - 1000 }]);
    expect(await lease({ units: 50 })).toEqual([{ units: 0, remaining: 0, resetsInMs: MINUTE - 1000 }]);
  });

  test("begins a window when it is first asked for, and the others at whole periods after it", async () => {
    vi.setSystemTime(NOON + 12_345);
    expect(await lease({ units: 600 })).toMatchObject([{ resetsInMs: MINUTE }]);
    vi.advanceTimersByTime(MINUTE - 1);
    expect(await lease({ units: 1 })).toEqual([{ units: 0, remaining: 0, resetsInMs: 1 }]);
    vi.advanceTimersByTime(1);
    expect(await lease({ units: 1 })).toEqual([{ units: 1, remaining: 599, resetsInMs: MINUTE }]);
    vi.advanceTimersByTime(2.5 * MINUTE);
    expect(await lease({ units: 1 })).toEqual([{ units: 1, remaining: 599, resetsInMs: MINUTE / 2 }]);
  });

  test("does not save up what was left of earlier windows", async () => {
    await lease({ units: 1 });
    vi.advanceTimersByTime(10 * MINUTE);
    expect(await granted({ units: 700 })).toEqual([600]);
  });

  test("accounts for each want of one call, in order", async () => {
    expect(await granted({ units: 400 }, { units: 400 }, { units: 400 })).toEqual([400, 200, 0]);
  });

  test("keeps limits of other names apart", async () => {
    expect(await granted({ units: 600 }, { name: "key:b2:requests", units: 600 })).toEqual([600, 600]);
  });

  test("never grants more than the limit to servers that ask at once", async () => {
    const grants = await Promise.all(Array.from({ length: 20 }, () => granted({ units: 50 })));
    expect(grants.flat().reduce((sum, units) => sum + units)).toBe(600);
  });

  test("grants nothing to who wants nothing, or less", async () => {
    expect(await lease({ units: 0 }, { units: -5 })).toEqual([
      { units: 0, remaining: 600, resetsInMs: MINUTE },
      { units: 0, remaining: 600, resetsInMs: MINUTE },
    ]);
  });

  test("grants nothing under a limit of nothing", async () => {
    expect(await lease({ limit: 0 })).toEqual([{ units: 0, remaining: 0, resetsInMs: MINUTE }]);
  });

  test("counts what the window has used against a limit that was lowered", async () => {
    await lease({ units: 50 });
    expect(await granted({ units: 100, limit: 100 })).toEqual([50]);
    expect(await granted({ units: 100, limit: 40 })).toEqual([0]);
    vi.advanceTimersByTime(MINUTE);
    expect(await granted({ units: 100, limit: 40 })).toEqual([40]);
  });

  test("counts what the window has used against a limit that was raised", async () => {
    await lease({ units: 600 });
    expect(await granted({ units: 600, limit: 1000 })).toEqual([400]);
  });

  test("has windows of any length", async () => {
    const quota = { name: "key:a1:quota", units: 10, limit: 10, periodMs: 3_600_000 };
    await lease(quota);
    vi.advanceTimersByTime(59 * MINUTE);
    expect(await lease(quota)).toEqual([{ units: 0, remaining: 0, resetsInMs: MINUTE }]);
    vi.advanceTimersByTime(MINUTE);
    expect(await granted(quota)).toEqual([10]);
  });
});

describe("the limit selfHostedEmbeddings", () => {
  const shared = { name: "selfHostedEmbeddings", limit: 9000 };

  test("is 2,000 a minute, whatever more the caller says", async () => {
    expect(await granted({ ...shared, units: 3000, periodMs: 1 })).toEqual([2000]);
    vi.advanceTimersByTime(MINUTE - 1);
    expect(await lease({ ...shared, periodMs: 1 })).toEqual([{ units: 0, remaining: 0, resetsInMs: 1 }]);
    vi.advanceTimersByTime(1);
    expect(await granted({ ...shared, units: 3000 })).toEqual([2000]);
  });

  test("is one with what other services of the deployment take by that name", async () => {
    await lease({ ...shared, units: 500 });
    await convex.run((ctx) => limiter.limit(ctx, "selfHostedEmbeddings", { count: 1400 }));
    expect(await granted({ ...shared, units: 500 })).toEqual([100]);
  });

  test("is less where the caller says so", async () => {
    expect(await granted({ ...shared, units: 500, limit: 100 })).toEqual([100]);
    expect(await granted({ ...shared, units: 500, limit: 100 })).toEqual([0]);
    expect(await granted({ ...shared, units: 500 })).toEqual([500]);
  });

  test("has nothing left where other services have reserved ahead", async () => {
    await convex.run((ctx) => limiter.limit(ctx, "selfHostedEmbeddings", { count: 1500 }));
    await convex.run((ctx) => limiter.limit(ctx, "selfHostedEmbeddings", { count: 1500, reserve: true }));
    expect(await granted({ ...shared, units: 1 })).toEqual([0]);
  });
});
