/**
 * The functions of this project and of its component, as convex-test takes them.
 *
 * All are loaded at the start. A loader that runs within a mutation would use timers, which convex-test takes
 * from mutations.
 */

import rateLimiter from "@convex-dev/rate-limiter/test";

type Modules = Record<string, () => Promise<unknown>>;

const FOLDER = "../functions/";

export const modules = await loaded(
  import.meta.glob(["../functions/**/*.*s", "!../functions/**/*.d.ts", "!../functions/convex.config.ts"]),
);

export const component = await loaded(rateLimiter.modules);

/** Which functions there are: their paths, such as "embeddings:logRequest", and what each is. */
export const kinds = new Map<string, "mutation" | "query">();

for (const [file, load] of Object.entries(modules)) {
  const module = file.slice(FOLDER.length).replace(/\.[jt]s$/, "");
  for (const [name, value] of Object.entries(
    (await load()) as Record<string, { isMutation?: true; isQuery?: true }>,
  )) {
    if (value.isMutation) kinds.set(`${module}:${name}`, "mutation");
    if (value.isQuery) kinds.set(`${module}:${name}`, "query");
  }
}

async function loaded(lazy: Modules): Promise<Modules> {
  const files = Object.entries(lazy).filter(([path]) => !path.includes(".test."));
  const pairs = files.map(async ([path, load]) => {
    const module = await load();
    return [path, async () => module] as const;
  });
  return Object.fromEntries(await Promise.all(pairs));
}
