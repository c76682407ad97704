"""What the service endures: replicas that are hurt under load, and many requests.

`make bench-endure` runs it; README.md says how to read what it prints.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import faulty
import psutil
from endured import AFTER, BEFORE, Calls, Fault, Memory, growth, summarize
from hurt import SIGNALS, replica_of, signalled, told
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

DEADLINE = 6.0
"""Seconds that a call has while a replica is hurt."""

LATE = 0.25
"""Seconds after its deadline by which a call must have ended: all share two cores with the server."""

PAUSE = 0.05
"""Seconds that a caller waits after a call that failed, as callers do."""

LASTS = 3.0
"""Seconds of a fault that has a duration."""

SAMPLES = 20

FAULTY = (sys.executable, "-c", "from faulty import serve; serve()")
LASTING = (faulty.EXHAUSTED, faulty.FAILING)
"""Faults with a duration, in which calls may fail."""


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
            await self._embed(caller)
        except FAILURES as error:
            self.calls.errors.append(name_failure(error))
            await asyncio.sleep(PAUSE)
        else:
            self.calls.ended.append(time.perf_counter())

    async def _embed(self, caller: int) -> None:
        begin = time.perf_counter()
        try:
            await self.way(caller, [next(self.texts)])
        finally:
            self.calls.seconds.append(time.perf_counter() - begin)

    async def call_until_over(self, caller: int) -> None:
        """Embed one text after the other."""
        while not self.over:
            await self.call(caller)


def main() -> int:
    """Measure, show and keep; return 1 if the service did not endure."""
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
    return int(not all(map(_endured, faults)))


def _endured(fault: Fault) -> bool:
    """Whether throughput returned, no call ended after its deadline, and none failed that need not."""
    good = fault.fault in LASTING or not fault.errors
    return good and fault.back_seconds is not None and fault.slowest_seconds <= DEADLINE + LATE


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="of random lengths (%(default)s)")
    return parser.parse_args()


async def _run(folder: Path, requests: int) -> tuple[list[Fault], list[Memory]]:
    model, file = share_model("model"), folder / "fault"
    texts = _texts(open_supply(model / "tokenizer.json").passages)
    with run_service(folder / "service", "auto", model) as service:
        service.wait()
        async with open_channel(service) as channel:
            memory = await _many(service, unary(channel, service), texts, requests)
            way = unary(channel, service, DEADLINE)
            faults = [await _hurt(Load(way, texts), name, signalled(service, name)) for name in SIGNALS]
    os.environ |= {faulty.FAULT: str(file), "PYTHONPATH": str(Path(__file__).parent)}
    with run_service(folder / "faulty", "auto", model, FAULTY) as service:
        service.wait()
        async with open_channel(service) as channel:
            way = unary(channel, service, DEADLINE)
            faults += [await _hurt(Load(way, texts), name, told(file, name)) for name in LASTING]
    return faults, memory


def _texts(passages: Passages) -> Iterator[str]:
    return (passages.cut(length).text for length in endless(LENGTHS, seed=0))


async def _hurt(load: Load, name: str, hurt: AbstractContextManager[None]) -> Fault:
    """Hurt the replica under load."""
    async with asyncio.TaskGroup() as callers:
        for caller in range(CALLERS):
            callers.create_task(load.call_until_over(caller))
        await asyncio.sleep(BEFORE)
        begin = time.perf_counter()
        with hurt:
            if name in LASTING:
                await asyncio.sleep(LASTS)
            end = time.perf_counter()
        await asyncio.sleep(AFTER)
        load.over = True
    return summarize(name, load.calls, begin, end)


async def _many(service: Service, way: Way, texts: Iterator[str], requests: int) -> list[Memory]:
    """Send many requests; watch what the processes hold."""
    load, held = Load(way, texts), {"server": [], "replica": []}
    processes = {"server": psutil.Process(service.server.process.pid), "replica": replica_of(service)}
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


def _fault_table(faults: Sequence[Fault]) -> Table:
    table = Table(title=f"a replica under {CALLERS} callers")
    headings = (
        "fault",
        "calls",
        "errors",
        "calls/s before",
        "back after s",
        "longest silence s",
        "slowest call s",
    )
    for heading in headings:
        table.add_column(heading)
    for fault in faults:
        back = "never" if fault.back_seconds is None else f"{fault.back_seconds:.1f}"
        table.add_row(
            fault.fault,
            str(fault.calls),
            ", ".join(f"{count} {name}" for name, count in fault.errors.items()) or "none",
            f"{fault.before:.0f}",
            back,
            f"{fault.silence_seconds:.2f}",
            f"{fault.slowest_seconds:.2f}",
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
