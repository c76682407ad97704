"""How many short texts a second 1, 16 and 64 callers get: the service beside FastAPI, in one run.

`make bench` runs it; README.md says how to read what it prints.
"""

import argparse
import asyncio
import datetime as dt
import sys
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from agreement import check
from load import measure
from programs import Addresses, run_programs
from report import Measurement, Run, describe, save, table
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from texts import short_texts
from ways import open_ways

CALLERS = (1, 16, 64)


@dataclass(frozen=True, slots=True)
class Plan:
    """How often each way is measured with each number of callers, and for how long each time."""

    rounds: int
    seconds: float


FULL = Plan(rounds=3, seconds=4.0)
QUICK = Plan(rounds=1, seconds=2.0)


def main() -> int:
    """Measure, keep and show; return 1 if any call failed."""
    options = _parse()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        run = asyncio.run(_run(QUICK if options.quick else FULL, Path(folder), console))
    console.print(table(run.measurements))
    if not options.quick:
        console.print(f"raw figures: {save(run, 'callers')}", soft_wrap=True)
    return int(any(item.figures.errors for item in run.measurements))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, to try it; keeps no figures")
    return parser.parse_args()


async def _run(plan: Plan, folder: Path, console: Console) -> Run:
    started, conditions = dt.datetime.now(dt.UTC), describe()
    console.print("starting the server, Envoy and FastAPI")
    with run_programs(folder) as addresses:
        agreement, measurements = await _measure_all(plan, addresses, console)
    return Run(started.isoformat(timespec="seconds"), conditions, agreement, measurements)


async def _measure_all(plan: Plan, addresses: Addresses, console: Console) -> tuple[float, list[Measurement]]:
    """Take turns: a machine that slows down meanwhile slows all ways alike."""
    measurements = []
    async with open_ways(addresses, max(CALLERS)) as ways:
        agreement = await check(ways)
        texts = short_texts()
        steps = list(product(range(1, plan.rounds + 1), CALLERS, ways.items()))
        with _progress(console) as progress:
            task = progress.add_task("", total=len(steps))
            for number, callers, (name, way) in steps:
                progress.update(task, description=f"round {number}, {callers} callers, {name}")
                figures = await measure(way, texts, callers, plan.seconds)
                measurements.append(Measurement(number, callers, name, figures))
                progress.advance(task)
    return agreement, measurements


def _progress(console: Console) -> Progress:
    """Drawn once a second: drawing takes from what is measured."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, refresh_per_second=1)


if __name__ == "__main__":
    sys.exit(main())
