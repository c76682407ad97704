/** What was said of aliases while the service runs: which models answer for them, and whom. */

import { ConvexError } from "convex/values";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { type Route, withoutSystemFields } from "./records";

/** Every route, by alias; people set them one by one, so they are few. */
export async function list(ctx: QueryCtx): Promise<Route[]> {
  const found = await ctx.db.query("embeddingRoutes").withIndex("by_alias").collect();
  return found.map(withoutSystemFields);
}

/** Keeps a route in place of the one with its alias, if there is one. */
export async function set(ctx: MutationCtx, route: Route): Promise<void> {
  const kept = await find(ctx, route.alias);
  if (kept) await ctx.db.replace(kept._id, route);
  else await ctx.db.insert("embeddingRoutes", route);
}

/** Forgets a route; refuses where there is none. */
export async function remove(ctx: MutationCtx, alias: string): Promise<void> {
  const kept = await find(ctx, alias);
  if (!kept) throw new ConvexError({ kind: "unrouted" });
  await ctx.db.delete(kept._id);
}

function find(ctx: QueryCtx, alias: string) {
  return ctx.db
    .query("embeddingRoutes")
    .withIndex("by_alias", (index) => index.eq("alias", alias))
    .unique();
}
