/**
 * Writes functions/_generated anew, with no deployment at hand.
 *
 * Convex's own tool asks a deployment which components there are. What it would write of ours is added here.
 */

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const NOWHERE = {
  CI: "1",
  CONVEX_SELF_HOSTED_URL: "http://127.0.0.1:1",
  CONVEX_SELF_HOSTED_ADMIN_KEY: "none",
};
const COMPONENTS = `
export declare const components: {
  rateLimiter: import("@convex-dev/rate-limiter/_generated/component.js").ComponentApi<"rateLimiter">;
};
`;

function rewrite(name, change) {
  const path = new URL(`functions/_generated/${name}`, import.meta.url);
  writeFileSync(path, change(readFileSync(path, "utf8")));
}

execFileSync("convex", ["codegen", "--system-udfs", "--typecheck", "disable"], {
  env: { ...process.env, ...NOWHERE },
  stdio: "inherit",
});
rewrite("api.d.ts", (text) => text + COMPONENTS);
rewrite("api.js", (text) =>
  text
    .replace("{ anyApi }", "{ anyApi, componentsGeneric }")
    .concat("export const components = componentsGeneric();\n"),
);
