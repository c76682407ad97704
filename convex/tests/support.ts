/** A backend of its own for each test, and records to put into it. */

import rateLimiter from "@convex-dev/rate-limiter/test";
import { convexTest } from "convex-test";
import type { ApiKey, FailureRow, RequestRow, Route, Want } from "../functions/model/records";
import schema from "../functions/schema";

const modules = import.meta.glob("../functions/**/*.*s");

/** 2026-11-25 at noon, in UTC. */
export const NOON = Date.UTC(2026, 10, 25, 12);
export const MINUTE = 60_000;
export const DAY = 24 * 60 * MINUTE;

/** A backend that holds transactions to the limits that Convex has. */
export function backend() {
  const convex = convexTest({ schema, modules, transactionLimits: true });
  rateLimiter.register(convex);
  return convex;
}

export type Backend = ReturnType<typeof backend>;

export type Table =
  "embeddingApiKeys" | "embeddingAuthFailures" | "embeddingRequests" | "embeddingRoutes" | "embeddingUsage";

/** Every document of a table. */
export function rowsOf(convex: Backend, table: Table) {
  return convex.run((ctx) => ctx.db.query(table).collect());
}

export function key(keyHash: string, fields: Partial<ApiKey> = {}): ApiKey {
  return {
    keyHash,
    prefix: "emb_1234",
    name: "search",
    owner: "team-search",
    models: [],
    calls: [],
    limits: { quotaSeconds: 3600 },
    createdAt: NOON,
    ...fields,
  };
}

/** A key of which everything is known. */
export function wholeKey(keyHash: string): Required<ApiKey> {
  return {
    ...key(keyHash),
    models: ["all-mpnet-base-v2"],
    calls: ["embed"],
    limits: {
      requestsPerMinute: 600,
      tokensPerMinute: 1e6,
      quotaRequests: 9,
      quotaTokens: 8,
      quotaSeconds: 60,
    },
    injection: "flag",
    cache: false,
    expiresAt: NOON + DAY,
    revokedAt: NOON + 1,
    usedAt: NOON + 2,
    successor: "b2",
  };
}

export function request(fields: Partial<RequestRow> = {}): RequestRow {
  return {
    requestId: "req-1",
    keyHash: "a1",
    identity: "",
    rpc: "Embed",
    model: "all-mpnet-base-v2",
    requests: 1,
    inputs: 2,
    tokens: 30,
    cached: 1,
    latencyMs: 12.5,
    outcome: "OK",
    at: NOON,
    ...fields,
  };
}

export function failure(fields: Partial<FailureRow> = {}): FailureRow {
  return {
    keyPrefix: "emb_9999",
    reason: "unknown",
    address: "192.0.2.7",
    count: 3,
    firstAt: NOON - MINUTE,
    lastAt: NOON,
    ...fields,
  };
}

export function route(alias: string, fields: Partial<Route> = {}): Route {
  return {
    alias,
    model: "all-mpnet-base-v2",
    other: "openai/text-embedding-3-small",
    share: 10,
    sticky: "key",
    shadow: 5,
    fallback: true,
    changedAt: NOON,
    ...fields,
  };
}

export function want(fields: Partial<Want> = {}): Want {
  return { name: "key:a1:requests", units: 50, limit: 600, periodMs: MINUTE, ...fields };
}

export function batchOf<Row>(count: number, make: (index: number) => Row): Row[] {
  return Array.from({ length: count }, (_, index) => make(index));
}
