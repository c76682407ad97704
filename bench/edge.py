"""What Envoy adds: the same callers and short texts, directly and through it, in turns.

`make bench-edge` runs it. 16 callers, one short text a call. Over gRPC the same client goes both ways, so
that the ratio is Envoy's alone; over HTTP the client is another one, and the ratio has its price, too.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import aiohttp
import orjson
from added import BALANCED, CALLERS, DIRECT, HTTP, SIXTEEN, holds, rounds_of
from figures import Spread, ratio, spread
from model import MODEL, share_model
from over_grpc import open_channel, unary
from over_http import read_base64
from plan import SHORT, Plan, Served
from report import RESULTS, Measurement, describe
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from served import Door, Loop, measure
from service import Service, run_service
from texts import open_supply
from ways import TIMEOUT_SECONDS, Vectors, Way

WAYS = (DIRECT, BALANCED, HTTP)
WHAT = (Served(SIXTEEN, (), SHORT, callers=CALLERS), Served("50 calls a second", (), SHORT, rate=50))
PLAN = Plan(rounds=0, settle=1.0, window=5.0, fewer=1)
HEADINGS = ("what", "way", "p50 ms", "p99 ms", "p50 / direct p50", "µs of a core a call", "others' cores")
LEFT = HEADINGS[:2]
PAGE = 170
"""Characters of a line where nobody watches."""


@asynccontextmanager
async def open_doors(service: Service) -> AsyncIterator[Mapping[str, Door]]:
    """Connect, directly and through Envoy."""
    server, both = (service.server,), (service.server, service.envoy)
    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(open_channel(service))
        balanced = await stack.enter_async_context(open_channel(service, service.balanced))
        connector = aiohttp.TCPConnector(limit=CALLERS)
        timeout = aiohttp.ClientTimeout(TIMEOUT_SECONDS)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, timeout=timeout))
        yield {
            DIRECT: Door(unary(direct, service), server),
            BALANCED: Door(unary(balanced, service), both),
            HTTP: Door(_json(session, service), both),
        }


def _json(session: aiohttp.ClientSession, service: Service) -> Way:
    url = f"{service.rest}/v1/embeddings"
    headers = {"content-type": "application/json", **dict(service.metadata)}

    async def embed(_caller: int, texts: Sequence[str]) -> Vectors:
        body = orjson.dumps({"model": MODEL, "input": texts, "encoding_format": "base64"})
        async with session.post(url, data=body, headers=headers) as answer:
            answer.raise_for_status()
            return read_base64([item["embedding"] for item in orjson.loads(await answer.read())["data"]])

    return embed


def main() -> int:
    """Measure, show and keep; return 1 if Envoy adds too much or a call failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="of each kind (%(default)s)")
    rounds = parser.parse_args().rounds
    console = Console() if sys.stdout.isatty() else Console(width=PAGE)
    path, conditions = RESULTS / f"edge-{time.strftime('%Y-%m-%d')}.json", describe()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_measure(rounds, Path(folder)))
    kept = {"conditions": conditions, "measurements": list(map(asdict, found))}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    console.print(_table(found))
    console.print(path, soft_wrap=True)
    return int(not holds(found))


async def _measure(rounds: int, folder: Path) -> list[Measurement]:
    found = []
    model = share_model("model")
    supply = open_supply(model / "tokenizer.json")
    with run_service(folder / "service", "auto", model) as service:
        service.wait()
        async with open_doors(service) as doors:
            turns = [(number, what) for number in range(1, rounds + 1) for what in WHAT]
            for number, what in track(turns, "measuring", disable=not sys.stdout.isatty()):
                for name in WAYS if number % 2 else reversed(WAYS):
                    figures = await measure(doors[name], Loop(what, PLAN, supply), number)
                    found.append(Measurement(number, what.name, name, figures))
    return found


def _table(found: Sequence[Measurement]) -> Table:
    title = "short texts of 16 tokens, one a call: the median, the least and the most of any round"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in LEFT else "right", no_wrap=True)
    for what in WHAT:
        for way in WAYS:
            table.add_row(what.name, way, *_cells(found, what.name, way))
        table.add_section()
    return table


def _cells(found: Sequence[Measurement], what: str, way: str) -> list[str]:
    p50, p99 = (rounds_of(found, what, way, metric) for metric in ("p50", "p99"))
    beside = ratio(p50, rounds_of(found, what, DIRECT, "p50"))
    cost = spread([1e6 / each for each in rounds_of(found, what, way, "requests/core")])
    others = spread(rounds_of(found, what, way, "others"))
    return [
        _shown(spread(p50)),
        f"{spread(p99).median:.1f}",
        _shown(beside),
        f"{cost.median:,.0f}",
        f"{others.median:.2f}",
    ]


def _shown(values: Spread) -> str:
    return f"{values.median:.2f} ({values.least:.2f} to {values.most:.2f})"


if __name__ == "__main__":
    sys.exit(main())
