"""What the service endures: replicas that are killed and that hang under load, and many requests.

`make bench-endure` runs it; README.md says how to read what it prints.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from endured import AFTER, BEFORE, Calls, Fault, Memory, growth, summarize
from lengths import SHORTEST, endless
from model import share_model
from over_grpc import open_channel, unary
from report import RESULTS, describe
from rich.console import Console
from rich.progress import track
from rich.table import Table
from service import Service, run_service
from texts import Passages, open_supply
from ways import FAILURES, Way, name_failure

CALLERS = 16
LENGTHS = range(SHORTEST, 41)
"""Tokens of a text."""

SIGNALS = {"killed": signal.SIGKILL, "hangs": signal.SIGSTOP}
SAMPLES = 20


@dataclass(slots=True)
class Load:
    """Callers of short texts in a closed loop, and how their calls ended."""

    way: Way
    texts: Iterator[str]
    calls: Calls = field(default_factory=Calls)
    over: bool = False

    async def call(self, caller: int) -> None:
        """Embed the next text."""
        try:
            await self.way(caller, [next(self.texts)])
        except FAILURES as error:
            self.calls.errors.append(name_failure(error))
        self.calls.ended.append(time.perf_counter())

    async def call_until_over(self, caller: int) -> None:
        """Embed one text after the other."""
        while not self.over:
            await self.call(caller)


def main() -> int:
    """Measure, show and keep; return 1 if a call failed or throughput did not return."""
    options = _parse()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        faults, memory = asyncio.run(_run(Path(folder), options.requests))
    console.print(_fault_table(faults))
    console.print(_memory_table(memory, options.requests))
    path = RESULTS / f"endure-{time.strftime('%Y-%m-%d')}.json"
    figures = {"faults": list(map(asdict, faults)), "memory": list(map(asdict, memory))}
    path.write_text(json.dumps({"conditions": describe(), "requests": options.requests, **figures}, indent=1))
    console.print(path, soft_wrap=True)
    return int(any(fault.errors or fault.back_seconds is None for fault in faults))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="of random lengths (%(default)s)")
    return parser.parse_args()


async def _run(folder: Path, requests: int) -> tuple[list[Fault], list[Memory]]:
    model = share_model("model")
    texts = _texts(open_supply(model / "tokenizer.json").passages)
    with run_service(folder / "service", "auto", model) as service:
        service.wait()
        async with _calling(service) as way:
            memory = await _many(service, way, texts, requests)
            faults = [await _hurt(service, Load(way, texts), name) for name in SIGNALS]
    return faults, memory


@asynccontextmanager
async def _calling(service: Service) -> AsyncIterator[Way]:
    async with open_channel(service) as channel:
        yield unary(channel, service)


def _texts(passages: Passages) -> Iterator[str]:
    return (passages.cut(length).text for length in endless(LENGTHS, seed=0))


async def _hurt(service: Service, load: Load, name: str) -> Fault:
    """Hurt the replica under load."""
    async with asyncio.TaskGroup() as callers:
        for caller in range(CALLERS):
            callers.create_task(load.call_until_over(caller))
        await asyncio.sleep(BEFORE)
        moment = time.perf_counter()
        os.kill(_replica(service).pid, SIGNALS[name])
        await asyncio.sleep(AFTER)
        load.over = True
    return summarize(name, load.calls, moment)


async def _many(service: Service, way: Way, texts: Iterator[str], requests: int) -> list[Memory]:
    """Send many requests; watch what the processes hold."""
    load, held = Load(way, texts), {"server": [], "replica": []}
    processes = {"server": psutil.Process(service.server.process.pid), "replica": _replica(service)}
    for _ in track(range(SAMPLES), "requests of random lengths"):
        left = iter(range(requests // SAMPLES))
        async with asyncio.TaskGroup() as callers:
            for caller in range(CALLERS):
                callers.create_task(_call_while(load, caller, left))
        for name, process in processes.items():
            held[name].append(round(process.memory_info().rss / 2**20, 1))
    if load.calls.errors:
        raise RuntimeError(f"calls failed: {load.calls.errors[:5]}")
    return [Memory(name, sizes, growth(sizes)) for name, sizes in held.items()]


async def _call_while(load: Load, caller: int, left: Iterator[int]) -> None:
    for _ in left:
        await load.call(caller)


def _replica(service: Service) -> psutil.Process:
    children = psutil.Process(service.server.process.pid).children(recursive=True)
    return next(child for child in children if "embedsvc.engine.worker" in child.cmdline())


def _fault_table(faults: Sequence[Fault]) -> Table:
    table = Table(title=f"a replica under {CALLERS} callers")
    for heading in ("fault", "calls", "errors", "calls/s before", "back after s", "longest silence s"):
        table.add_column(heading)
    for fault in faults:
        back = "never" if fault.back_seconds is None else f"{fault.back_seconds:.1f}"
        table.add_row(
            fault.fault,
            str(fault.calls),
            str(len(fault.errors)),
            f"{fault.before:.0f}",
            back,
            f"{fault.longest_seconds:.2f}",
        )
    return table


def _memory_table(memory: Sequence[Memory], requests: int) -> Table:
    table = Table(title=f"memory over {requests:,} requests of {LENGTHS[0]} to {LENGTHS[-1]} tokens")
    for heading in ("process", "MiB at first", "MiB at last", "second half over first"):
        table.add_column(heading)
    for each in memory:
        table.add_row(each.process, f"{each.mebibytes[0]}", f"{each.mebibytes[-1]}", f"{each.growth:+.2%}")
    return table


if __name__ == "__main__":
    sys.exit(main())
