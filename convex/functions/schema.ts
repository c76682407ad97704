/** The tables, each with an index for every query that is made of it. */

import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { apiKey, failureRow, requestRow, route, usageRow } from "./model/records";

export default defineSchema({
  embeddingApiKeys: defineTable(apiKey).index("by_keyHash", ["keyHash"]).index("by_createdAt", ["createdAt"]),

  embeddingRequests: defineTable(requestRow.extend({ batchId: v.string() }))
    .index("by_batchId", ["batchId"])
    .index("by_at", ["at"]),

  embeddingAuthFailures: defineTable(failureRow.extend({ batchId: v.string() }))
    .index("by_batchId", ["batchId"])
    .index("by_lastAt", ["lastAt"]),

  embeddingUsage: defineTable(usageRow).index("by_group", ["day", "keyHash", "identity", "model"]),

  embeddingRoutes: defineTable(route).index("by_alias", ["alias"]),
});
