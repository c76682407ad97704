"""Callers: in a closed loop each waits for its answer, in an open one calls come at a constant rate."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from figures import Call, Figures, summarize
from texts import Text
from ways import FAILURES, Way, name_failure

Meter = Callable[[], Mapping[str, float]]
"""Reads processor time in seconds, by who spent it."""


@dataclass(frozen=True, slots=True)
class Window:
    """When calls are counted.

    Attributes:
        settle: Seconds before, in which all callers get under way.
        seconds: Its length.
    """

    settle: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Target:
    """What is called.

    Attributes:
        way: Embeds texts.
        requests: What to embed, call by call.
        meter: Measures the callers and the program.
    """

    way: Way
    requests: Iterator[Sequence[Text]]
    meter: Meter


async def closed_loop(target: Target, callers: int, window: Window) -> Figures:
    """Let callers call, each when it has the last answer; count what ends in the window.

    Raises:
        RuntimeError: Nothing did.
    """
    calls: list[Call] = []
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for caller in range(callers):
            group.create_task(_call_until(over, partial(_call, target, caller), calls))
        await asyncio.sleep(window.settle)
        begin, spent = time.perf_counter(), target.meter()
        await asyncio.sleep(window.seconds)
        end, spent = time.perf_counter(), _since(spent, target.meter())
        over.set()
    return summarize([call for call in calls if begin <= call.ended < end], end - begin, spent)


async def open_loop(target: Target, rate: float, window: Window) -> Figures:
    """Call at a constant rate, whatever the answers do; count the calls that were to be sent in the window.

    The time of a call counts from when it was to be sent: one that leaves late since others keep the callers
    busy is late all the same (Tene, "How NOT to Measure Latency": coordinated omission).

    Raises:
        RuntimeError: None succeeds.
    """
    begin = time.perf_counter() + window.settle
    async with asyncio.TaskGroup() as group:
        early = group.create_task(
            _call_on_time(target, send_times(begin - window.settle, rate, window.settle))
        )
        counted = group.create_task(_call_on_time(target, send_times(begin, rate, window.seconds)))
        await _sleep_until(begin)
        spent = target.meter()
        await _sleep_until(begin + window.seconds)
        spent = _since(spent, target.meter())
    early.result()
    return summarize(counted.result(), window.seconds, spent)


def send_times(begin: float, rate: float, seconds: float) -> list[float]:
    """When calls are to be sent: evenly spaced, as many as the rate makes in so many seconds."""
    return [begin + number / rate for number in range(round(rate * seconds))]


async def _call_on_time(target: Target, times: Sequence[float]) -> list[Call]:
    tasks = []
    async with asyncio.TaskGroup() as group:
        for number, intended in enumerate(times):
            await _sleep_until(intended)
            tasks.append(group.create_task(_call(target, number, intended)))
    return [task.result() for task in tasks]


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0, moment - time.perf_counter()))


async def _call_until(
    over: asyncio.Event, call: Callable[[float], Awaitable[Call]], calls: list[Call]
) -> None:
    while not over.is_set():
        calls.append(await call(time.perf_counter()))


async def _call(target: Target, caller: int, begin: float) -> Call:
    """Embed what is next; a failure is a figure too."""
    request = next(target.requests)
    failure = None
    try:
        await target.way(caller, [text.text for text in request])
    except FAILURES as error:
        failure = name_failure(error)
    end = time.perf_counter()
    return Call(len(request), sum(text.tokens for text in request), end, end - begin, failure)


def _since(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {name: now[name] - spent for name, spent in before.items()}
