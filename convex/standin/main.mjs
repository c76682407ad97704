/**
 * Starts the stand-in.
 *
 * Vite loads it, because the rate limiter and convex-test find their modules with import.meta.glob.
 */

import { runnerImport } from "vite";

await runnerImport("./standin/server.ts", {
  root: new URL("..", import.meta.url).pathname,
  logLevel: "warn",
  resolve: { noExternal: ["convex-test", "@convex-dev/rate-limiter"] },
});
