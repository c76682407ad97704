/**
 * A stand-in for a Convex backend: it serves the functions of this project over Convex's HTTP API.
 *
 * STANDIN_JOURNAL  the file that keeps what was acknowledged; it must be given
 * STANDIN_PORT  where it listens; 0, or nothing, for any port that is free
 * STANDIN_ADMIN_KEY  the key that its functions take
 *
 * It prints one line of JSON when it is ready.
 */

import { Api } from "./api";
import { Backend } from "./backend";
import { Control } from "./control";
import { Faults } from "./faults";
import { Front } from "./front";
import { Journal } from "./journal";

const {
  STANDIN_JOURNAL,
  STANDIN_PORT = "0",
  STANDIN_ADMIN_KEY = "convex-self-hosted|stand-in",
} = process.env;
if (!STANDIN_JOURNAL) throw new Error("STANDIN_JOURNAL must name the file that keeps what was acknowledged");

const { journal, entries } = Journal.open(STANDIN_JOURNAL);
const backend = new Backend(journal);
await backend.replay(entries);

const faults = new Faults();
const api = new Api(backend, faults, STANDIN_ADMIN_KEY);
const front = await Front.listen(Number(STANDIN_PORT), (request, body) => api.answer(request, body));
const control = new Control(backend, faults, api, front);
const { port: controlPort } = await Front.listen(0, (request, body) => control.answer(request, body));

console.log(JSON.stringify({ port: front.port, controlPort, pid: process.pid }));
