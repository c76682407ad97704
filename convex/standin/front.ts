/** An HTTP server that can be made to refuse connections. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Reply } from "./api";

type Answer = (request: IncomingMessage, body: string) => Promise<Reply>;

export class Front {
  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {}

  /** Listens on a port of this machine; on any that is free where it is 0. */
  static async listen(port: number, answer: Answer): Promise<Front> {
    const server = createServer((request, response) => {
      respond(request, response, answer).catch((error) => {
        console.error(error);
        response.writeHead(500).end();
      });
    });
    server.keepAliveTimeout = 60_000;
    await listening(server, port);
    return new Front(server, (server.address() as AddressInfo).port);
  }

  /** Closes every connection, and takes no others. */
  async refuse(): Promise<void> {
    if (!this.server.listening) return;
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await closed;
  }

  /** Takes connections again. */
  async accept(): Promise<void> {
    if (!this.server.listening) await listening(this.server, this.port);
  }
}

async function respond(request: IncomingMessage, response: ServerResponse, answer: Answer): Promise<void> {
  const reply = await answer(request, await bodyOf(request));
  if (reply === "hang") return;
  if (reply === "drop") request.socket.destroy();
  else response.writeHead(reply.status, { "content-type": "application/json" }).end(reply.body);
}

function listening(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
