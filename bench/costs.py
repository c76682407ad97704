"""What a million tokens cost at the pace of a run, beside OpenAI's two prices: `make bench-cost`.

A machine is paid for by the hour, whatever it does: figures are of one that is busy all the time.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import plan
from rich import box
from rich.console import Console
from rich.table import Table

from embedsvc.periods import HOUR
from embedsvc.prices import LARGE, SMALL

MILLION = 1_000_000
PAGE = 120
"""Characters of a line where no terminal says how many there are."""

CAPACITIES = {
    served.name: served.ways for served in plan.SERVED if served.rate is None and plan.NULL not in served.ways
}
"""Closed loops, which take what they can get; open loops measure what was asked for."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured of one way.

    Attributes:
        work: What it had to do.
        way: How it was done.
        tokens_per_second: The median over the rounds.
    """

    work: str
    way: str
    tokens_per_second: float


def usd_per_million(tokens_per_second: float, usd_per_hour: float) -> float:
    """What a million tokens cost on a machine that does nothing else, in US dollars."""
    return usd_per_hour / (tokens_per_second * HOUR) * MILLION


def paces(result: Mapping[str, Any]) -> Sequence[Pace]:
    """Take the paces out of what is kept of a run, of `bench/run.py` or `bench/gpu.py`."""
    found = _gpu_windows(result) if "windows" in result else _windows(result)
    rounds: dict[tuple[str, str], list[float]] = {}
    for work, way, tokens_per_second in found:
        rounds.setdefault((work, way), []).append(tokens_per_second)
    return [Pace(*which, median(measured)) for which, measured in rounds.items()]


def _windows(result: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    for one in result["measurements"]:
        work, way, figures = one["scenario"], one["subject"], one["figures"]
        if way in CAPACITIES.get(work, ()):
            yield work, way, figures["tokens"] / figures["seconds"]


def _gpu_windows(result: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    for one in result["windows"]:
        budget = f", {one['batch_tokens']:,} tokens a batch" if one["batch_tokens"] else ""
        yield f"{one['model']}: {one['work']}", f"{one['way']}{budget}", one["tokens"] / one["seconds"]


def table(found: Sequence[Pace], usd_per_hour: float) -> Table:
    """Show paces as prices. `x` is how many times dearer OpenAI is; below 1 it is cheaper."""
    title = f"a million tokens at ${usd_per_hour:g} an hour; OpenAI's: ${SMALL} and ${LARGE}"
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("calls", "way"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("tokens/s", "$", "x 3-small", "x 3-large"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for pace in found:
        here = usd_per_million(pace.tokens_per_second, usd_per_hour)
        times = (f"{price / here:,.1f}" if here else "" for price in (SMALL, LARGE))
        shown.add_row(pace.work, pace.way, f"{pace.tokens_per_second:,.0f}", f"{here:.5f}", *times)
    return shown


def main() -> None:
    """Show what a kept run means in money."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path, help="what bench/run.py or bench/gpu.py has kept")
    parser.add_argument("--usd-per-hour", type=float, required=True, help="of the machine that it ran on")
    options = parser.parse_args()
    found = paces(json.loads(options.result.read_text()))
    console = Console() if sys.stdout.isatty() else Console(width=PAGE)
    console.print(table(found, options.usd_per_hour))


if __name__ == "__main__":
    main()
