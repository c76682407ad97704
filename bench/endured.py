"""What is seen of a fault under load, and of memory in the course of many requests."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

BEFORE, AFTER = 5.0, 12.0
"""Seconds of load around a fault."""

SLICE = 0.5
"""Seconds over which throughput is taken."""

BACK = 0.8
"""Throughput has returned when a slice has this part of what slices had before."""


@dataclass(slots=True)
class Calls:
    """When calls ended, in order, and how those did that failed."""

    ended: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """What became of a fault under load.

    Attributes:
        fault: What was done to the replica.
        calls: How many ended.
        errors: How they failed that did.
        before: Calls a second before it; the median of slices.
        back_seconds: From the fault until throughput had returned; None if it had not.
        longest_seconds: The longest time in which no call ended.
    """

    fault: str
    calls: int
    errors: Sequence[str]
    before: float
    back_seconds: float | None
    longest_seconds: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process holds in the course of many requests.

    Attributes:
        process: Which.
        mebibytes: Resident, after each of as many parts of the requests.
        growth: Of the last half's median over the first half's.
    """

    process: str
    mebibytes: Sequence[float]
    growth: float


def summarize(name: str, calls: Calls, moment: float) -> Fault:
    """See what a fault at a moment did."""
    before = median(_rates(calls.ended, moment - BEFORE + 1, moment))
    rates = _rates(calls.ended, moment, moment + AFTER)
    gaps = [later - earlier for earlier, later in pairwise(calls.ended)]
    return Fault(name, len(calls.ended), calls.errors, before, _back(rates, BACK * before), max(gaps))


def _back(rates: Sequence[float], enough: float) -> float | None:
    """Seconds until a slice was good again after the first that was not; None if none was."""
    bad = next((at for at, rate in enumerate(rates) if rate < enough), None)
    if bad is None:
        return 0.0
    good = next((at for at in range(bad, len(rates)) if rates[at] >= enough), None)
    return None if good is None else (good + 1) * SLICE


def _rates(ended: Sequence[float], begin: float, end: float) -> list[float]:
    """Calls a second in each slice of a time."""
    slices = round((end - begin) / SLICE)
    counts = [0] * slices
    for moment in ended:
        at = int((moment - begin) / SLICE)
        if begin <= moment and at < slices:
            counts[at] += 1
    return [count / SLICE for count in counts]


def growth(sizes: Sequence[float]) -> float:
    """The last half's median over the first half's, less 1."""
    middle = len(sizes) // 2
    return round(median(sizes[middle:]) / median(sizes[:middle]) - 1, 4)
