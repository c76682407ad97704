// @vitest-environment node

/** The stand-in as the tests of the service use it: a process of its own, over HTTP. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Fault } from "../standin/faults";
import { batchOf, key, NOON, request, type Table, want } from "./support";

const KEY = "convex-self-hosted|stand-in";
const folder = mkdtempSync(join(tmpdir(), "stand-in-"));
const journal = join(folder, "journal");

let child: ChildProcess;
let ports: { port: number; controlPort: number; pid: number };

async function start(port = 0): Promise<void> {
  child = spawn(process.execPath, ["standin/main.mjs"], {
    env: { ...process.env, STANDIN_JOURNAL: journal, STANDIN_PORT: String(port) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(child.stdout!, "data");
  ports = JSON.parse(line);
}

async function kill(): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

async function restart(): Promise<void> {
  await kill();
  await start(ports.port);
}

async function control(method: "GET" | "POST", page: string, body?: unknown) {
  const url = `http://127.0.0.1:${ports.controlPort}/__test__/${page}`;
  return (
    await fetch(url, { method, body: method === "GET" ? undefined : JSON.stringify(body ?? null) })
  ).json();
}

const fault = (given: Fault | null) => control("POST", "fault", given);
const dump = (table: Table) => control("GET", `dump?table=${table}`);

interface Options {
  kind?: string;
  format?: string;
  authorization?: string;
  patienceMs?: number;
}

function post(path: string, args: object, options: Options = {}) {
  const {
    kind = "mutation",
    format = "json",
    authorization = `Convex ${KEY}`,
    patienceMs = 10_000,
  } = options;
  return fetch(`http://127.0.0.1:${ports.port}/api/${kind}`, {
    method: "POST",
    headers: { authorization },
    body: JSON.stringify({ path: `embeddings:${path}`, args, format }),
    signal: AbortSignal.timeout(patienceMs),
  });
}

const answerOf = async (response: Promise<Response>) => (await response).json();
const lease = async () => (await answerOf(post("checkRateLimit", { wants: [want()] }))).value[0];
const log = (batchId: string) => post("logRequest", { batchId, requests: [request({ requestId: batchId })] });

beforeAll(() => start());

beforeEach(async () => {
  await control("POST", "reset");
});

afterAll(async () => {
  await kill();
  rmSync(folder, { recursive: true });
});

describe("Convex's HTTP API", () => {
  test("has a version", async () => {
    expect((await fetch(`http://127.0.0.1:${ports.port}/version`)).status).toBe(200);
  });

  test("runs mutations and queries", async () => {
    expect(await answerOf(post("createKey", { key: key("a1") }))).toMatchObject({
      status: "success",
      value: null,
    });
    const found = await answerOf(post("lookupKeys", { keyHashes: ["a1"] }, { kind: "query" }));
    expect(found).toMatchObject({ status: "success", value: [key("a1")] });
  });

  test("writes every number with a decimal point", async () => {
    const text = await (await post("checkRateLimit", { wants: [want({ units: 5, limit: 6 })] })).text();
    expect(text).toContain('{"remaining":1.0,"resetsInMs":60000.0,"units":5.0}');
  });

  test("answers 200 with the data of an error that a function throws", async () => {
    const response = await post("revokeKey", { keyHash: "none", at: NOON });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      status: "error",
      errorMessage: expect.stringMatching(/^\[Request ID: [0-9a-f]{16}\] Server Error\nUncaught ConvexError/),
      errorData: { kind: "unknown" },
    });
  });

  test("answers 200 with an error where arguments do not fit", async () => {
    const answer = await answerOf(post("revokeKey", { keyHash: "none", at: NOON, extra: 1 }));
    expect(answer).toMatchObject({
      status: "error",
      errorMessage: expect.stringContaining("Validator error"),
    });
    expect(answer).not.toHaveProperty("errorData");
  });

  test("finds no internal function without the admin key", async () => {
    const response = fetch(`http://127.0.0.1:${ports.port}/api/mutation`, {
      method: "POST",
      body: JSON.stringify({
        path: "embeddings:revokeKey",
        args: { keyHash: "a1", at: NOON },
        format: "json",
      }),
    });
    expect(await answerOf(response)).toMatchObject({
      status: "error",
      errorMessage: expect.stringContaining("Could not find public function for 'embeddings:revokeKey'"),
    });
  });

  test("finds no function that is not there", async () => {
    expect(await answerOf(post("nothing", {}))).toMatchObject({
      status: "error",
      errorMessage: expect.stringContaining("Could not find public function for 'embeddings:nothing'"),
    });
  });

  test("runs no mutation as a query", async () => {
    expect(await answerOf(post("purgeOld", {}, { kind: "query" }))).toMatchObject({ status: "error" });
  });

  test("answers 401 to a wrong key", async () => {
    const response = await post("touchKeys", { used: [] }, { authorization: "Convex wrong" });
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ code: "BadAdminKey" });
  });

  test("answers 400 to an authorization of another kind, and to another format", async () => {
    expect((await post("touchKeys", { used: [] }, { authorization: "Basic YTpi" })).status).toBe(400);
    expect((await post("touchKeys", { used: [] }, { format: "yaml" })).status).toBe(400);
  });

  test("answers 404 elsewhere", async () => {
    expect((await post("touchKeys", { used: [] }, { kind: "sing" })).status).toBe(404);
  });
});

describe("what was acknowledged", () => {
  test("is there once after the process was killed in the middle of its work", async () => {
    const ids = batchOf(100, (index) => `batch-${index}`);
    const outcomes = ids.map((id) =>
      log(id).then(
        ({ ok }) => ok,
        () => false,
      ),
    );
    await outcomes[20];
    await restart();
    const acknowledged = (await Promise.all(outcomes)).flatMap((ok, index) => (ok ? [ids[index]] : []));
    const kept = (await dump("embeddingRequests")).map((row: { requestId: string }) => row.requestId);
    expect(acknowledged).not.toEqual([]);
    expect(kept).toEqual(expect.arrayContaining(acknowledged));
    expect(new Set(kept).size).toBe(kept.length);
  });

  test("is not done again when it is sent again after a restart", async () => {
    await log("batch-1");
    await restart();
    expect((await answerOf(log("batch-1"))).value).toEqual({ inserted: 0, duplicate: true });
  });

  test("has the time of when it was done", async () => {
    const before = await lease();
    await restart();
    const after = await lease();
    expect(after.remaining).toBe(before.remaining - 50);
    expect(after.resetsInMs).toBeLessThan(before.resetsInMs);
  });

  test("does not suffer from a line that was cut off", async () => {
    await log("batch-1");
    await kill();
    appendFileSync(journal, '{"at":17956');
    await start(ports.port);
    await log("batch-2");
    await restart();
    expect(await dump("embeddingRequests")).toHaveLength(2);
  });

  test("is gone after a reset, and stays gone", async () => {
    await log("batch-1");
    await control("POST", "reset");
    await restart();
    expect(await dump("embeddingRequests")).toEqual([]);
  });
});

describe("a fault", () => {
  test("refuses connections until it is taken away, those that are open too", async () => {
    await log("batch-1");
    await fault({ kind: "refuse" });
    await expect(log("batch-2")).rejects.toThrow("fetch failed");
    await expect(log("batch-2")).rejects.toMatchObject({ cause: { code: "ECONNREFUSED" } });
    await fault(null);
    expect((await log("batch-2")).status).toBe(200);
  });

  test("hangs, and nothing is done", async () => {
    await fault({ kind: "hang" });
    const hung = post("logRequest", { batchId: "batch-1", requests: [request()] }, { patienceMs: 300 });
    await expect(hung).rejects.toMatchObject({ name: "TimeoutError" });
    await fault(null);
    expect(await dump("embeddingRequests")).toEqual([]);
  });

  test.each([429, 503])("answers %d as many times as it says", async (status) => {
    await fault({ kind: "status", status, times: 2 });
    const statuses = [];
    for (let attempt = 0; attempt < 3; attempt++) statuses.push((await log("batch-1")).status);
    expect(statuses).toEqual([status, status, 200]);
    expect(await control("GET", "calls")).toEqual({ "embeddings:logRequest": 3 });
  });

  test("delays", async () => {
    await fault({ kind: "delay", ms: 100, times: 1 });
    const began = performance.now();
    await log("batch-1");
    expect(performance.now() - began).toBeGreaterThan(95);
  });

  test("loses the answer to a mutation that was done, and to nothing else", async () => {
    await fault({ kind: "drop-after-commit", times: 1 });
    expect((await post("lookupKeys", { keyHashes: [] }, { kind: "query" })).status).toBe(200);
    expect((await post("revokeKey", { keyHash: "none", at: NOON })).status).toBe(200);
    await expect(log("batch-1")).rejects.toThrow("fetch failed");
    expect((await answerOf(log("batch-1"))).value).toEqual({ inserted: 0, duplicate: true });
  });
});
