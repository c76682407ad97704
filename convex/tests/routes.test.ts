import { beforeEach, describe, expect, test } from "vitest";
import { internal } from "../functions/_generated/api";
import { type Backend, backend, NOON, route, rowsOf } from "./support";

const { removeRoute, routes, setRoute } = internal.embeddings;

let convex: Backend;

beforeEach(() => {
  convex = backend();
});

const set = (...given: ReturnType<typeof route>[]) =>
  Promise.all(given.map((each) => convex.mutation(setRoute, { route: each })));

describe("routes", () => {
  test("returns every route by alias, and nothing of Convex's own", async () => {
    await set(route("b"), route("a"), route("c"));
    expect(await convex.query(routes, {})).toEqual([route("a"), route("b"), route("c")]);
  });

  test("returns nothing where nothing was said", async () => {
    expect(await convex.query(routes, {})).toEqual([]);
  });
});

describe("setRoute", () => {
  test("takes the place of what was said of the alias before", async () => {
    await set(route("a"), route("b"));
    await set(route("a", { share: 50, changedAt: NOON + 1 }));
    expect(await convex.query(routes, {})).toEqual([
      route("a", { share: 50, changedAt: NOON + 1 }),
      route("b"),
    ]);
  });

  test("keeps one of two that are set at once", async () => {
    await set(route("a", { share: 10 }), route("a", { share: 20 }));
    expect(await rowsOf(convex, "embeddingRoutes")).toHaveLength(1);
  });
});

describe("removeRoute", () => {
  test("forgets what was said of an alias, and of no other", async () => {
    await set(route("a"), route("b"));
    await convex.mutation(removeRoute, { alias: "a" });
    expect(await convex.query(routes, {})).toEqual([route("b")]);
  });

  test("refuses an alias of which nothing was said", async () => {
    await expect(convex.mutation(removeRoute, { alias: "a" })).rejects.toMatchObject({
      data: { kind: "unrouted" },
    });
  });
});
