/** The functions of this project over convex-test's database, one call at a time, with a journal. */

import { randomBytes } from "node:crypto";
import rateLimiter from "@convex-dev/rate-limiter/test";
import { convexTest, type TestConvex } from "convex-test";
import { makeFunctionReference } from "convex/server";
import { ConvexError, type Value } from "convex/values";
import schema from "../functions/schema";
import type { Entry, Journal } from "./journal";
import { component, kinds, modules } from "./modules";

export type Kind = "mutation" | "query";

export type Outcome = { status: "success"; value: unknown } | Failure;

interface Failure {
  status: "error";
  errorMessage: string;
  errorData?: Value;
}

export interface Call {
  kind: Kind;
  path: string;
  args: Record<string, unknown>;
}

export class Backend {
  private convex = emptyDatabase();
  private last: Promise<unknown> = Promise.resolve();

  constructor(private readonly journal: Journal) {}

  /** Calls again what was acknowledged before. */
  async replay(entries: Entry[]): Promise<void> {
    for (const entry of entries) {
      const outcome = await this.apply(entry);
      if (outcome.status === "error") throw new Error(`${entry.path} fails now: ${outcome.errorMessage}`);
    }
  }

  /** Calls a function; a mutation that succeeded is in the journal when this returns. */
  call({ kind, path, args }: Call): Promise<Outcome> {
    return this.inTurn(async () => {
      const actual = kinds.get(path);
      if (actual === undefined) return notFound(path);
      if (actual !== kind) return serverError(`Cannot run ${path} as a ${kind}: it is a ${actual}.`);
      return kind === "query" ? this.query(path, args) : this.mutate({ at: Date.now(), path, args });
    });
  }

  /** Every document of a table. */
  dump(table: keyof typeof schema.tables): Promise<unknown[]> {
    return this.inTurn(() => this.convex.run((ctx) => ctx.db.query(table).collect()));
  }

  /** Forgets everything. */
  reset(): Promise<void> {
    return this.inTurn(async () => {
      this.journal.clear();
      this.convex = emptyDatabase();
    });
  }

  private query(path: string, args: Entry["args"]): Promise<Outcome> {
    return attempt(() => this.convex.query(makeFunctionReference<"query">(path), args));
  }

  private async mutate(entry: Entry): Promise<Outcome> {
    const outcome = await this.apply(entry);
    if (outcome.status === "success") this.journal.append(entry);
    return outcome;
  }

  private apply({ at, path, args }: Entry): Promise<Outcome> {
    return atTime(at, () =>
      attempt(() => this.convex.mutation(makeFunctionReference<"mutation">(path), args)),
    );
  }

  private inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.last.then(act);
    this.last = result.catch(() => undefined);
    return result;
  }
}

/** What Convex says of a function that is not there, or that the caller may not call. */
export function notFound(path: string): Outcome {
  return serverError(
    `Could not find public function for '${path}'. ` +
      "Did you forget to run `npx convex dev` or `npx convex deploy`?",
  );
}

function emptyDatabase(): TestConvex<typeof schema> {
  const convex = convexTest({ schema, modules, transactionLimits: true });
  convex.registerComponent("rateLimiter", rateLimiter.schema, component);
  return convex;
}

async function attempt(act: () => Promise<unknown>): Promise<Outcome> {
  try {
    return { status: "success", value: await act() };
  } catch (error) {
    const outcome = serverError(`Uncaught ${error}`);
    return error instanceof ConvexError ? { ...outcome, errorData: error.data } : outcome;
  }
}

function serverError(message: string): Failure {
  return {
    status: "error",
    errorMessage: `[Request ID: ${randomBytes(8).toString("hex")}] Server Error\n${message}`,
  };
}

/** Stops the clock for a mutation, as Convex does, so that a replay comes to the same end. */
async function atTime<T>(at: number, act: () => Promise<T>): Promise<T> {
  const clock = Date.now;
  Date.now = () => at;
  try {
    return await act();
  } finally {
    Date.now = clock;
  }
}
