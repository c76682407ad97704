// A client of embedsvc, and what its errors say. Copy this file and the generated folder into your service.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Message } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { DelegateBackoff, handleWhen, retry } from "cockatiel";
import { EmbeddingService } from "./gen/typescript/embedsvc/v1/embedding_pb.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "./gen/typescript/google/rpc/error_details_pb.js";
import type { Status } from "./gen/typescript/google/rpc/status_pb.js";

export interface Options {
  target: string;
  certificates: string;
  key: string;
}

export interface Failure {
  reason: string; // which error it is, as in docs/errors.md; empty where no server of ours answered
  message: string;
  field?: string | undefined; // the field at fault, such as "inputs[3]"
  retrySeconds?: number | undefined; // when trying again makes sense; undefined where it never does
}

type Find = <M extends Message>(schema: GenMessage<M>) => M | undefined;

// One client serves a whole process: its transport holds one HTTP/2 connection, and opens it anew where it is lost.
export function connect({ target, certificates, key }: Options): Client<typeof EmbeddingService> {
  const read = (name: string) => readFileSync(join(certificates, name));
  const transport = createGrpcTransport({
    baseUrl: `https://${target}`,
    nodeOptions: { ca: read("ca.crt"), cert: read("client.crt"), key: read("client.key") },
    interceptors: [authorize(key), retrying],
    defaultTimeoutMs: 30_000, // of a call, all tries together
    pingIntervalMs: 30_000, // a connection that died in silence is noticed
    pingTimeoutMs: 10_000,
    pingIdleConnection: true,
  });
  return createClient(EmbeddingService, transport);
}

function authorize(key: string): Interceptor {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
}

const again = retry(
  handleWhen((error) => ConnectError.from(error).code === Code.Unavailable),
  {
    maxAttempts: 3,
    // As the server asks, and each caller a little later than the other.
    backoff: new DelegateBackoff(({ result }) => {
      const asked = "error" in result ? failureOfCall(result.error).retrySeconds : undefined;
      return (asked ?? 1) * (1 + Math.random() / 2) * 1_000;
    }),
  },
);

// Streams are not tried again as a whole: what they have answered is done.
const retrying: Interceptor = (next) => (request) =>
  request.stream ? next(request) : again.execute(() => next(request));

// What a failed call says.
export function failureOfCall(thrown: unknown): Failure {
  const error = ConnectError.from(thrown);
  return failure(error.rawMessage, (schema) => error.findDetails(schema)[0]);
}

// What a status inside an answer of a stream says.
export function failureOf({ message, details }: Status): Failure {
  return failure(message, (schema) => details.map((detail) => anyUnpack(detail, schema)).find(Boolean));
}

function failure(message: string, find: Find): Failure {
  const delay = find(RetryInfoSchema)?.retryDelay;
  return {
    reason: find(ErrorInfoSchema)?.reason ?? "",
    message,
    field: find(BadRequestSchema)?.fieldViolations[0]?.field,
    retrySeconds: delay && durationMs(delay) / 1_000,
  };
}
