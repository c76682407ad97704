/**
 * What embedsvc may call. Every function is internal: it takes the deployment's admin key.
 *
 * A function here says what goes in and what comes out; what it does is in `model/`.
 */

import { v } from "convex/values";
import { internalMutation, internalQuery } from "./_generated/server";
import * as keys from "./model/keys";
import * as ledger from "./model/ledger";
import * as limits from "./model/limits";
import * as records from "./model/records";
import * as retention from "./model/retention";
import * as routing from "./model/routes";
import * as usages from "./model/usage";

const cursor = v.union(v.string(), v.null());

export const lookupKeys = internalQuery({
  args: { keyHashes: v.array(v.string()) },
  returns: v.array(records.apiKey),
  handler: (ctx, { keyHashes }) => keys.lookup(ctx, keyHashes),
});

export const listKeys = internalQuery({
  args: { cursor, limit: v.number() },
  returns: v.object({ keys: v.array(records.apiKey), cursor }),
  handler: (ctx, { cursor, limit }) => keys.list(ctx, cursor, limit),
});

/** Throws `{kind: "exists"}`. */
export const createKey = internalMutation({
  args: { key: records.apiKey },
  returns: v.null(),
  handler: async (ctx, { key }) => {
    await keys.create(ctx, key);
    return null;
  },
});

/** Throws `{kind: "unknown" | "revoked" | "rotated" | "exists"}`. */
export const rotateKey = internalMutation({
  args: { keyHash: v.string(), successor: records.apiKey, expiresAt: v.number() },
  returns: v.null(),
  handler: async (ctx, { keyHash, successor, expiresAt }) => {
    await keys.rotate(ctx, keyHash, successor, expiresAt);
    return null;
  },
});

/** Throws `{kind: "unknown"}`. */
export const revokeKey = internalMutation({
  args: { keyHash: v.string(), at: v.number() },
  returns: v.null(),
  handler: async (ctx, { keyHash, at }) => {
    await keys.revoke(ctx, keyHash, at);
    return null;
  },
});

export const touchKeys = internalMutation({
  args: { used: v.array(records.keyUse) },
  returns: v.null(),
  handler: async (ctx, { used }) => {
    await keys.touch(ctx, used);
    return null;
  },
});

/** Grants come in the order of the wants, each after those before it. */
export const checkRateLimit = internalMutation({
  args: { wants: v.array(records.want) },
  returns: v.array(records.grant),
  handler: async (ctx, { wants }) => {
    const grants: records.Grant[] = [];
    for (const want of wants) grants.push(await limits.lease(ctx, want));
    return grants;
  },
});

export const logRequest = internalMutation({
  args: { batchId: v.string(), requests: v.array(records.requestRow) },
  returns: records.logged,
  handler: (ctx, { batchId, requests }) => ledger.logRequests(ctx, batchId, requests),
});

export const logAuthFailure = internalMutation({
  args: { batchId: v.string(), failures: v.array(records.failureRow) },
  returns: records.logged,
  handler: (ctx, { batchId, failures }) => ledger.logFailures(ctx, batchId, failures),
});

export const usage = internalQuery({
  args: { firstDay: v.string(), lastDay: v.string(), cursor, limit: v.number() },
  returns: v.object({ rows: v.array(records.usageRow), cursor }),
  handler: (ctx, span) => usages.list(ctx, span),
});

export const failures = internalQuery({
  args: { since: v.number(), limit: v.number() },
  returns: v.array(records.failureRow),
  handler: (ctx, { since, limit }) => ledger.failures(ctx, since, limit),
});

export const routes = internalQuery({
  args: {},
  returns: v.array(records.route),
  handler: (ctx) => routing.list(ctx),
});

export const setRoute = internalMutation({
  args: { route: records.route },
  returns: v.null(),
  handler: async (ctx, { route }) => {
    await routing.set(ctx, route);
    return null;
  },
});

/** Throws `{kind: "unrouted"}`. */
export const removeRoute = internalMutation({
  args: { alias: v.string() },
  returns: v.null(),
  handler: async (ctx, { alias }) => {
    await routing.remove(ctx, alias);
    return null;
  },
});

export const purge = internalMutation({
  args: { before: v.number(), usageBeforeDay: v.string(), limit: v.number() },
  returns: v.number(),
  handler: (ctx, bounds): Promise<number> => retention.purge(ctx, bounds),
});

/** What the cron calls. */
export const purgeOld = internalMutation({
  args: {},
  returns: v.null(),
  handler: async (ctx): Promise<null> => {
    await retention.purgeOld(ctx);
    return null;
  },
});
