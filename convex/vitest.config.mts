import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // The closest there is to the runtime in which Convex runs functions.
    environment: "edge-runtime",
    testTimeout: 30_000,
    hookTimeout: 30_000,
    include: ["tests/**/*.test.ts"],
    // Both find modules with import.meta.glob, which only Vite understands.
    server: { deps: { inline: ["convex-test", "@convex-dev/rate-limiter"] } },
  },
});
