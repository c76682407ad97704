/** Convex's HTTP API, as far as embedsvc uses it, with the statuses and codes of the real backend. */

import type { IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type Backend, type Call, type Kind, notFound, type Outcome } from "./backend";
import type { Faults } from "./faults";
import { writeJson } from "./json";

/** A status and a body; or that there is no answer: the connection stays open, or is closed. */
export type Reply = { status: number; body: string } | "hang" | "drop";

const OVERLOADED: Record<number, string> = { 429: "TooManyConcurrentRequests", 503: "ExpiredInQueue" };

class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export class Api {
  private counted: Record<string, number> = {};

  constructor(
    private readonly backend: Backend,
    private readonly faults: Faults,
    private readonly adminKey: string,
  ) {}

  /** Requests that came, by function, or by page. */
  get calls(): Record<string, number> {
    return this.counted;
  }

  forgetCalls(): void {
    this.counted = {};
  }

  async answer(request: IncomingMessage, body: string): Promise<Reply> {
    try {
      if (request.method === "GET" && request.url === "/version") return await this.version();
      return await this.run(callOf(request, body), request.headers.authorization);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { status: error.status, body: JSON.stringify({ code: error.code, message: error.message }) };
    }
  }

  private async version(): Promise<Reply> {
    return (await this.before("/version")) ?? { status: 200, body: "stand-in" };
  }

  private async run(call: Call, authorization: string | undefined): Promise<Reply> {
    const early = await this.before(call.path);
    if (early) return early;
    const isAdmin = isAdminKey(authorization, this.adminKey);
    const outcome: Outcome = isAdmin ? await this.backend.call(call) : notFound(call.path);
    const committed = call.kind === "mutation" && outcome.status === "success";
    if (committed && this.faults.take("drop-after-commit")) return "drop";
    return { status: 200, body: writeJson({ ...outcome, logLines: [] }) };
  }

  /** Counts a request, and says what it gets instead of an answer, if a fault is on. */
  private async before(path: string): Promise<Reply | null> {
    this.counted[path] = (this.counted[path] ?? 0) + 1;
    const fault = this.faults.take("hang", "status", "delay");
    if (fault?.kind === "hang") return "hang";
    if (fault?.kind === "delay") await sleep(fault.ms);
    if (fault?.kind !== "status") return null;
    const code = OVERLOADED[fault.status] ?? "InternalServerError";
    return { status: fault.status, body: JSON.stringify({ code, message: "Too many concurrent requests" }) };
  }
}

function callOf(request: IncomingMessage, body: string): Call {
  const kind = request.method === "POST" && /^\/api\/(query|mutation)$/.exec(request.url ?? "")?.[1];
  if (!kind) throw new Refusal(404, "NotFound", "Not found");
  const { path, args, format } = parse(body);
  if (format !== "json") throw new Refusal(400, "BadFormat", `format must be json. Got ${format}`);
  return { kind: kind as Kind, path: String(path), args: args as Call["args"] };
}

function parse(body: string): Record<string, unknown> {
  try {
    return JSON.parse(body);
  } catch {
    throw new Refusal(400, "BadJsonBody", "Failed to parse the request body as JSON");
  }
}

/** Whether a caller may run internal functions; a key that is wrong is refused outright. */
function isAdminKey(authorization: string | undefined, adminKey: string): boolean {
  if (authorization === undefined) return false;
  if (!authorization.startsWith("Convex ")) throw new Refusal(400, "InvalidAdminKey", "Invalid admin key");
  if (authorization.slice("Convex ".length) === adminKey) return true;
  throw new Refusal(401, "BadAdminKey", "The provided admin key was invalid for this instance");
}
