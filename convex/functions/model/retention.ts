/** How long rows are kept. */

import { internal } from "../_generated/api";
import type { MutationCtx } from "../_generated/server";
import { dayOf } from "./usage";

const DAY = 24 * 60 * 60 * 1000;

/** Rows that one transaction deletes; Convex writes at most 16,000 in one. */
export const AT_ONCE = 1000;

interface Bounds {
  /** Requests and failed authentications of before this time are old. */
  before: number;
  /** Totals of before this day are old. */
  usageBeforeDay: string;
  limit: number;
}

/** Deletes old rows, up to a limit; says how many. */
export async function purge(ctx: MutationCtx, { before, usageBeforeDay, limit }: Bounds): Promise<number> {
  const searches = [
    ctx.db.query("embeddingRequests").withIndex("by_at", (index) => index.lt("at", before)),
    ctx.db.query("embeddingAuthFailures").withIndex("by_lastAt", (index) => index.lt("lastAt", before)),
    ctx.db.query("embeddingUsage").withIndex("by_group", (index) => index.lt("day", usageBeforeDay)),
  ];
  let deleted = 0;
  for (const search of searches) {
    const rows = await search.take(limit - deleted);
    for (const row of rows) await ctx.db.delete(row._id);
    deleted += rows.length;
  }
  return deleted;
}

/** Deletes what is old by the deployment's settings; goes on in another transaction while there is more. */
export async function purgeOld(ctx: MutationCtx): Promise<void> {
  const now = Date.now();
  const deleted = await purge(ctx, {
    before: now - days("EMBEDDINGS_RETENTION_DAYS", 30) * DAY,
    usageBeforeDay: dayOf(now - days("EMBEDDINGS_USAGE_RETENTION_DAYS", 400) * DAY),
    limit: AT_ONCE,
  });
  if (deleted === AT_ONCE) await ctx.scheduler.runAfter(0, internal.embeddings.purgeOld, {});
}

/** A number of days that the deployment's environment sets. */
function days(name: string, otherwise: number): number {
  const set = process.env[name];
  if (!set) return otherwise;
  const value = Number(set);
  if (!(value > 0)) throw new Error(`${name} must be a number of days above 0, and is "${set}"`);
  return value;
}
