"""Everything in one run, taking turns: encoders without a server, the service, its peers.

`make bench` runs it; README.md says how to read what it prints.
"""

import argparse
import asyncio
import datetime as dt
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import costs
from model import CACHE
from plan import FULL, OPTIONAL, QUICK, Plan
from plots import plot
from report import RESULTS, Run, describe, save
from rich.console import Console
from session import measure_all
from tables import tables

PAGE = 170
"""Characters of a line where no terminal says how many there are."""


def main() -> int:
    """Measure, show and keep; return 1 if any call failed, or anything of ours was not run."""
    options = _parse()
    console = Console() if sys.stdout.isatty() else Console(width=PAGE)
    run = asyncio.run(_run(QUICK if options.quick else FULL, console))
    for shown in tables(run):
        console.print(shown)
    if options.usd_per_hour:
        console.print(costs.table(costs.paces(asdict(run)), options.usd_per_hour))
    folder = CACHE if options.quick else RESULTS
    for kept in (save(run, folder), plot(run, folder)):
        console.print(kept, soft_wrap=True)
    failed = any(item.figures.errors for item in run.measurements)
    missing = [name for name in run.not_run if not name.startswith(OPTIONAL)]
    return int(failed or bool(missing))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one short round, to try it; its figures prove nothing"
    )
    parser.add_argument(
        "--usd-per-hour", type=float, help="of this machine: shows what a million tokens cost"
    )
    return parser.parse_args()


async def _run(plan: Plan, console: Console) -> Run:
    started, begin, conditions = dt.datetime.now(dt.UTC), time.monotonic(), describe()
    with tempfile.TemporaryDirectory() as folder:
        measured = await measure_all(plan, Path(folder), console)
    return Run(
        started=started.isoformat(timespec="seconds"),
        minutes=round((time.monotonic() - begin) / 60, 1),
        conditions=conditions,
        agreement=measured.agreement,
        not_run=measured.not_run,
        measurements=measured.measurements,
    )


if __name__ == "__main__":
    sys.exit(main())
