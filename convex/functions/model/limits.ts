/** Limits that servers share, kept by the rate limiter component. */

import { calculateRateLimit, MINUTE, type RateLimitConfig, RateLimiter } from "@convex-dev/rate-limiter";
import { components } from "../_generated/api";
import type { MutationCtx } from "../_generated/server";
import type { Grant, Want } from "./records";

/** What the whole deployment may embed; its other AI services take from it too, with `limiter.limit`. */
const DEPLOYMENT = "selfHostedEmbeddings";

/** The limits of callers are under this name, each with its own name as the key. */
const CALLERS = "selfHostedEmbeddingsCallers";

/**
 * What the component is told that a caller may have: more than anybody may. So it counts what a window has
 * used, and a limit that was changed since the window began is compared with just that.
 */
const COUNTED = 2 ** 40;

const definitions = {
  [DEPLOYMENT]: { kind: "fixed window", rate: 2000, period: MINUTE },
} satisfies Record<string, RateLimitConfig>;

/** What other functions of the deployment limit themselves with. */
export const limiter = new RateLimiter(components.rateLimiter, definitions);

interface Window {
  name: string;
  key?: string;
  config: RateLimitConfig;
  limit: number;
}

/** Takes a block out of the window of now: what was wanted, or what there is. */
export async function lease(ctx: MutationCtx, want: Want): Promise<Grant> {
  const now = Date.now();
  const { name, limit, ...options } = windowOf(want, now);
  const stored = await limiter.getValue(ctx, name, options);
  const current = calculateRateLimit(stored.ts === 0 ? null : stored, options.config, now);
  const used = options.config.rate - current.value;
  const left = Math.max(0, Math.floor(limit - used));
  const units = Math.max(0, Math.min(want.units, left));
  if (units > 0) await limiter.limit(ctx, name, { ...options, count: units, throws: true });
  return { units, remaining: left - units, resetsInMs: current.ts + options.config.period - now };
}

/** Which window a want is about; the first that is asked of it begins it. */
function windowOf(want: Want, now: number): Window {
  if (want.name === DEPLOYMENT) {
    const config = { ...definitions[DEPLOYMENT], start: now };
    return { name: DEPLOYMENT, config, limit: Math.min(want.limit, config.rate) };
  }
  return {
    name: CALLERS,
    key: want.name,
    config: { kind: "fixed window", rate: COUNTED, period: want.periodMs, start: now },
    limit: Math.min(want.limit, COUNTED),
  };
}
