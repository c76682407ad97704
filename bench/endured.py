"""What is seen of a fault under load, and of memory in the course of many requests."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

BEFORE, AFTER = 5.0, 12.0
"""Seconds of load around a fault."""

SLICE = 0.25
"""Seconds over which throughput is taken."""

NOTICED = 1.0
"""Seconds by which a fault shows, if it does at all: what dips later is the machine."""

BACK = 0.8
"""Throughput has returned when a slice has this part of what slices had before."""


@dataclass(slots=True)
class Calls:
    """When good calls ended, in order; how long calls took, in seconds; and how those ended that failed."""

    ended: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """What became of a fault under load.

    Attributes:
        fault: What was done to the replica.
        calls: How many there were.
        errors: How often they failed in which way.
        before: Good calls a second before it; the median of slices.
        back_seconds: From the end of the fault until throughput had returned; None if it had not.
        silence_seconds: The longest time in which no call succeeded.
        slowest_seconds: The longest that a call took.
    """

    fault: str
    calls: int
    errors: Mapping[str, int]
    before: float
    back_seconds: float | None
    silence_seconds: float
    slowest_seconds: float


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


def summarize(name: str, calls: Calls, begin: float, end: float) -> Fault:
    """See what a fault did that lasted from one time to another."""
    before = median(_rates(calls.ended, begin - BEFORE + 1, begin))
    return Fault(
        fault=name,
        calls=len(calls.seconds),
        errors=dict(Counter(calls.errors)),
        before=before,
        back_seconds=_back(_rates(calls.ended, end, end + AFTER), BACK * before),
        silence_seconds=max((later - earlier for earlier, later in pairwise(calls.ended)), default=math.inf),
        slowest_seconds=max(calls.seconds),
    )


def _back(rates: Sequence[float], enough: float) -> float | None:
    """Seconds until a slice was good again after the first that was not; None if none was."""
    soon = rates[: round(NOTICED / SLICE)]
    bad = next((at for at, rate in enumerate(soon) if rate < enough), None)
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
