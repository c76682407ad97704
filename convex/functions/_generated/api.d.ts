/* eslint-disable */
/**
 * Generated `api` utility.
 *
 * THIS CODE IS AUTOMATICALLY GENERATED.
 *
 * To regenerate, run `npx convex dev`.
 * @module
 */

import type {
  ApiFromModules,
  FilterApi,
  FunctionReference,
} from "convex/server";
import type * as crons from "../crons.js";
import type * as embeddings from "../embeddings.js";
import type * as model_keys from "../model/keys.js";
import type * as model_ledger from "../model/ledger.js";
import type * as model_limits from "../model/limits.js";
import type * as model_records from "../model/records.js";
import type * as model_retention from "../model/retention.js";
import type * as model_routes from "../model/routes.js";
import type * as model_usage from "../model/usage.js";

/**
 * A utility for referencing Convex functions in your app's API.
 *
 * Usage:
 * ```js
 * const myFunctionReference = api.myModule.myFunction;
 * ```
 */
declare const fullApi: ApiFromModules<{
  crons: typeof crons;
  embeddings: typeof embeddings;
  "model/keys": typeof model_keys;
  "model/ledger": typeof model_ledger;
  "model/limits": typeof model_limits;
  "model/records": typeof model_records;
  "model/retention": typeof model_retention;
  "model/routes": typeof model_routes;
  "model/usage": typeof model_usage;
}>;
export declare const api: FilterApi<
  typeof fullApi,
  FunctionReference<any, "public">
>;
export declare const internal: FilterApi<
  typeof fullApi,
  FunctionReference<any, "internal">
>;

export declare const components: {
  rateLimiter: import("@convex-dev/rate-limiter/_generated/component.js").ComponentApi<"rateLimiter">;
};
