/**
 * The log of requests and of failed authentications.
 *
 * A mutation is all or nothing, so one row of a batch says that all of it was kept. A batch is known for as
 * long as its rows are, which is days; servers send one again for minutes.
 */

import type { MutationCtx, QueryCtx } from "../_generated/server";
import { type FailureRow, type Logged, type RequestRow, withoutSystemFields } from "./records";
import * as usage from "./usage";

type Log = "embeddingAuthFailures" | "embeddingRequests";

const DUPLICATE: Logged = { inserted: 0, duplicate: true };

/** Keeps requests and adds them to the totals, unless their batch was kept before. */
export async function logRequests(
  ctx: MutationCtx,
  batchId: string,
  requests: RequestRow[],
): Promise<Logged> {
  if (await isKept(ctx, "embeddingRequests", batchId)) return DUPLICATE;
  for (const row of requests) await ctx.db.insert("embeddingRequests", { ...row, batchId });
  await usage.add(ctx, requests);
  return { inserted: requests.length, duplicate: false };
}

/** Keeps failed authentications, unless their batch was kept before. */
export async function logFailures(
  ctx: MutationCtx,
  batchId: string,
  failures: FailureRow[],
): Promise<Logged> {
  if (await isKept(ctx, "embeddingAuthFailures", batchId)) return DUPLICATE;
  for (const row of failures) await ctx.db.insert("embeddingAuthFailures", { ...row, batchId });
  return { inserted: failures.length, duplicate: false };
}

/** Failed authentications since a time, the latest first. */
export async function failures(ctx: QueryCtx, since: number, limit: number): Promise<FailureRow[]> {
  const found = await ctx.db
    .query("embeddingAuthFailures")
    .withIndex("by_lastAt", (index) => index.gte("lastAt", since))
    .order("desc")
    .take(limit);
  return found.map(withoutSystemFields).map(({ batchId, ...row }) => row);
}

async function isKept(ctx: QueryCtx, log: Log, batchId: string): Promise<boolean> {
  const row = await ctx.db
    .query(log)
    .withIndex("by_batchId", (index) => index.eq("batchId", batchId))
    .first();
  return row !== null;
}
