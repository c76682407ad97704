/**
 * What is kept, as validators: the same records that the service has, in Convex's terms.
 *
 * Times are milliseconds since the epoch, and what is not known is absent.
 */

import { type Infer, v } from "convex/values";

/** An API key, without the key: it is found by the SHA-256 of it, in hexadecimal. */
export const apiKey = v.object({
  keyHash: v.string(),
  prefix: v.string(),
  name: v.string(),
  owner: v.string(),
  models: v.array(v.string()),
  calls: v.array(v.string()),
  limits: v.object({
    requestsPerMinute: v.optional(v.number()),
    tokensPerMinute: v.optional(v.number()),
    quotaRequests: v.optional(v.number()),
    quotaTokens: v.optional(v.number()),
    quotaSeconds: v.number(),
  }),
  injection: v.optional(v.union(v.literal("reject"), v.literal("flag"), v.literal("off"))),
  /** Whether its texts are looked up in the cache, and kept there; absent: they are. */
  cache: v.optional(v.boolean()),
  createdAt: v.number(),
  expiresAt: v.optional(v.number()),
  revokedAt: v.optional(v.number()),
  usedAt: v.optional(v.number()),
  /** The hash of the key that was made in its place. */
  successor: v.optional(v.string()),
});
export type ApiKey = Infer<typeof apiKey>;

/** When a key was last used. */
export const keyUse = v.object({ keyHash: v.string(), at: v.number() });
export type KeyUse = Infer<typeof keyUse>;

/** A block of units that a server asks a shared limit for. */
export const want = v.object({
  name: v.string(),
  units: v.number(),
  limit: v.number(),
  periodMs: v.number(),
});
export type Want = Infer<typeof want>;

/** What it got, what is left for all servers, and when the window ends. */
export const grant = v.object({
  units: v.number(),
  remaining: v.number(),
  resetsInMs: v.number(),
});
export type Grant = Infer<typeof grant>;

/** A request, or those of a stream summed: never text, vectors or a key. */
export const requestRow = v.object({
  requestId: v.string(),
  keyHash: v.string(),
  identity: v.string(),
  rpc: v.string(),
  model: v.string(),
  requests: v.number(),
  inputs: v.number(),
  tokens: v.number(),
  cached: v.number(),
  latencyMs: v.number(),
  outcome: v.string(),
  at: v.number(),
});
export type RequestRow = Infer<typeof requestRow>;

/** Failed authentications that are alike. */
export const failureRow = v.object({
  keyPrefix: v.string(),
  reason: v.string(),
  address: v.string(),
  count: v.number(),
  firstAt: v.number(),
  lastAt: v.number(),
});
export type FailureRow = Infer<typeof failureRow>;

/** What one key, or one certificate, used of one model in one day (UTC), such as "2026-11-25". */
export const usageRow = v.object({
  day: v.string(),
  keyHash: v.string(),
  identity: v.string(),
  model: v.string(),
  requests: v.number(),
  errors: v.number(),
  inputs: v.number(),
  tokens: v.number(),
  cached: v.number(),
  latencyMs: v.number(),
  slowestMs: v.number(),
});
export type UsageRow = Infer<typeof usageRow>;

/** What became of a batch of rows. */
export const logged = v.object({ inserted: v.number(), duplicate: v.boolean() });
export type Logged = Infer<typeof logged>;

/** What was said of an alias: which model answers how many of its callers, and which the others. */
export const route = v.object({
  alias: v.string(),
  model: v.string(),
  /** The model on the other side; empty: there is none. */
  other: v.string(),
  share: v.number(),
  sticky: v.union(v.literal("key"), v.literal("index")),
  shadow: v.number(),
  fallback: v.boolean(),
  changedAt: v.number(),
});
export type Route = Infer<typeof route>;

/** A document without what Convex adds to it. */
export function withoutSystemFields<Document extends { _id: string; _creationTime: number }>({
  _id,
  _creationTime,
  ...fields
}: Document): Omit<Document, "_id" | "_creationTime"> {
  return fields;
}
