"""A closed loop of callers: each sends its next text when it has the last answer, and never before."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from ways import FAILURES, Vector, Way, name_failure

Embed = Callable[[str], Awaitable[Vector]]
"""A way, for one caller."""

SETTLE_SECONDS = 1.0
"""What passes before calls are counted, so that every caller is under way and its connection is open."""

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class Call:
    """One call: when it ended, how long it took, and why it failed if it did."""

    ended: float
    seconds: float
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What was seen in one window.

    Attributes:
        requests: Good answers that arrived in the window.
        seconds: The length of the window.
        requests_per_second: The one by the other.
        latency_ms: Percentiles over the good answers, by name.
        errors: How often each kind of failure came.
    """

    requests: int
    seconds: float
    requests_per_second: float
    latency_ms: Mapping[str, float]
    errors: Mapping[str, int]


async def measure(way: Way, texts: Iterator[str], callers: int, seconds: float) -> Figures:
    """Let callers run, and count what ends in a window of some seconds.

    Raises:
        RuntimeError: Nothing did.
    """
    calls: list[Call] = []
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for caller in range(callers):
            group.create_task(_call_until(over, partial(way, caller), texts, calls))
        await asyncio.sleep(SETTLE_SECONDS)
        begin = time.perf_counter()
        await asyncio.sleep(seconds)
        end = time.perf_counter()
        over.set()
    return _summarize([call for call in calls if begin <= call.ended < end], end - begin)


async def _call_until(over: asyncio.Event, embed: Embed, texts: Iterator[str], calls: list[Call]) -> None:
    while not over.is_set():
        begin = time.perf_counter()
        failure = await _call(embed, next(texts))
        end = time.perf_counter()
        calls.append(Call(end, end - begin, failure))


async def _call(embed: Embed, text: str) -> str | None:
    """Embed a text; return what went wrong."""
    try:
        await embed(text)
    except FAILURES as error:
        return name_failure(error)
    return None


def _summarize(calls: Sequence[Call], seconds: float) -> Figures:
    good = [call.seconds for call in calls if call.failure is None]
    errors = Counter(call.failure for call in calls if call.failure is not None)
    if not good:
        raise RuntimeError(f"no good answer in {seconds:.1f} seconds; errors: {dict(errors)}")
    latency = np.percentile(good, PERCENTILES) * 1000
    return Figures(
        requests=len(good),
        seconds=round(seconds, 3),
        requests_per_second=round(len(good) / seconds, 1),
        latency_ms={f"p{at}": round(float(value), 2) for at, value in zip(PERCENTILES, latency, strict=True)},
        errors=dict(errors),
    )
