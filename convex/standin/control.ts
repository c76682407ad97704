/** What tests ask of the stand-in, on a port of its own, since the other may be made to refuse. */

import type { IncomingMessage } from "node:http";
import type schema from "../functions/schema";
import type { Api, Reply } from "./api";
import type { Backend } from "./backend";
import type { Fault, Faults } from "./faults";
import type { Front } from "./front";

export class Control {
  constructor(
    private readonly backend: Backend,
    private readonly faults: Faults,
    private readonly api: Api,
    private readonly front: Front,
  ) {}

  async answer(request: IncomingMessage, body: string): Promise<Reply> {
    const url = new URL(request.url ?? "", "http://stand-in");
    switch (`${request.method} ${url.pathname}`) {
      case "GET /__test__/calls":
        return json(this.api.calls);
      case "GET /__test__/dump":
        return json(await this.backend.dump(url.searchParams.get("table") as keyof typeof schema.tables));
      case "POST /__test__/fault":
        await this.set(JSON.parse(body));
        return json(null);
      case "POST /__test__/reset":
        await this.reset();
        return json(null);
      default:
        return { status: 404, body: "" };
    }
  }

  /** Makes something go wrong; null makes it right again. */
  private async set(fault: Fault | null): Promise<void> {
    this.faults.set(fault);
    if (fault?.kind === "refuse") await this.front.refuse();
    else await this.front.accept();
  }

  private async reset(): Promise<void> {
    await this.set(null);
    await this.backend.reset();
    this.api.forgetCalls();
  }
}

function json(value: unknown): Reply {
  return { status: 200, body: JSON.stringify(value) };
}
