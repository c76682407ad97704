/** What was used, rolled up by day, caller and model as requests are logged. */

import type { MutationCtx, QueryCtx } from "../_generated/server";
import { type RequestRow, type UsageRow, withoutSystemFields } from "./records";

interface Span {
  firstDay: string;
  lastDay: string;
  cursor: string | null;
  limit: number;
}

/** Adds requests to the totals, with one read and one write for each group that they fall into. */
export async function add(ctx: MutationCtx, requests: RequestRow[]): Promise<void> {
  const groups = new Map<string, UsageRow>();
  for (const row of requests.map(usageOf)) {
    const group = JSON.stringify([row.day, row.keyHash, row.identity, row.model]);
    groups.set(group, sum(row, groups.get(group)));
  }
  for (const row of groups.values()) await keep(ctx, row);
}

/** A page of what was used in a span of days, both counted in; the cursor is null after the last page. */
export async function list(ctx: QueryCtx, { firstDay, lastDay, cursor, limit }: Span) {
  const found = await ctx.db
    .query("embeddingUsage")
    .withIndex("by_group", (index) => index.gte("day", firstDay).lte("day", lastDay))
    .paginate({ cursor, numItems: limit });
  return { rows: found.page.map(withoutSystemFields), cursor: found.isDone ? null : found.continueCursor };
}

/** The day of a time, in UTC, such as "2026-11-25". */
export function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, "2026-11-25".length);
}

async function keep(ctx: MutationCtx, row: UsageRow): Promise<void> {
  const kept = await ctx.db
    .query("embeddingUsage")
    .withIndex("by_group", (index) =>
      index.eq("day", row.day).eq("keyHash", row.keyHash).eq("identity", row.identity).eq("model", row.model),
    )
    .unique();
  if (kept) await ctx.db.patch(kept._id, sum(row, withoutSystemFields(kept)));
  else await ctx.db.insert("embeddingUsage", row);
}

function usageOf({ requestId, rpc, outcome, at, ...row }: RequestRow): UsageRow {
  return {
    ...row,
    day: dayOf(at),
    errors: outcome === "OK" ? 0 : row.requests,
    slowestMs: row.latencyMs / Math.max(row.requests, 1),
  };
}

function sum(one: UsageRow, other: UsageRow | undefined): UsageRow {
  if (other === undefined) return one;
  return {
    ...one,
    requests: one.requests + other.requests,
    errors: one.errors + other.errors,
    inputs: one.inputs + other.inputs,
    tokens: one.tokens + other.tokens,
    cached: one.cached + other.cached,
    latencyMs: one.latencyMs + other.latencyMs,
    slowestMs: Math.max(one.slowestMs, other.slowestMs),
  };
}
