/** API keys. */

import { ConvexError } from "convex/values";
import type { MutationCtx, QueryCtx } from "../_generated/server";
import { type ApiKey, type KeyUse, withoutSystemFields } from "./records";

/** Those keys that there are. */
export async function lookup(ctx: QueryCtx, keyHashes: string[]): Promise<ApiKey[]> {
  const found = await Promise.all([...new Set(keyHashes)].map((keyHash) => find(ctx, keyHash)));
  return found.filter((key) => key !== null).map(withoutSystemFields);
}

/** A page of all keys, the oldest first; the cursor is null after the last page. */
export async function list(ctx: QueryCtx, cursor: string | null, limit: number) {
  const found = await ctx.db
    .query("embeddingApiKeys")
    .withIndex("by_createdAt")
    .paginate({ cursor, numItems: limit });
  return { keys: found.page.map(withoutSystemFields), cursor: found.isDone ? null : found.continueCursor };
}

/** Keeps a new key; refuses one whose hash there is. */
export async function create(ctx: MutationCtx, key: ApiKey): Promise<void> {
  if (await find(ctx, key.keyHash)) refuse("exists");
  await ctx.db.insert("embeddingApiKeys", key);
}

/** Keeps a successor, and lets the old key expire no later than given. */
export async function rotate(ctx: MutationCtx, keyHash: string, successor: ApiKey, expiresAt: number) {
  const old = (await find(ctx, keyHash)) ?? refuse("unknown");
  if (old.revokedAt !== undefined) refuse("revoked");
  if (old.successor !== undefined) refuse("rotated");
  await create(ctx, successor);
  await ctx.db.patch(old._id, {
    successor: successor.keyHash,
    expiresAt: Math.min(old.expiresAt ?? Infinity, expiresAt),
  });
}

/** Lets a key work no more; a second time changes nothing. */
export async function revoke(ctx: MutationCtx, keyHash: string, at: number): Promise<void> {
  const key = (await find(ctx, keyHash)) ?? refuse("unknown");
  if (key.revokedAt === undefined) await ctx.db.patch(key._id, { revokedAt: at });
}

/** Notes when keys were last used, in whatever order servers say it; unknown keys are passed over. */
export async function touch(ctx: MutationCtx, used: KeyUse[]): Promise<void> {
  for (const { keyHash, at } of used) {
    const key = await find(ctx, keyHash);
    if (key && at > (key.usedAt ?? -Infinity)) await ctx.db.patch(key._id, { usedAt: at });
  }
}

function find(ctx: QueryCtx, keyHash: string) {
  return ctx.db
    .query("embeddingApiKeys")
    .withIndex("by_keyHash", (index) => index.eq("keyHash", keyHash))
    .unique();
}

function refuse(kind: "exists" | "revoked" | "rotated" | "unknown"): never {
  throw new ConvexError({ kind });
}
