"""Blocking work off the event loop; what comes together goes together, since a hop costs more than a text."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

Result = TypeVar("Result")

LARGE = 4096
"""Work that costs more goes by itself, so that nobody waits for it."""


_Land: TypeAlias = "Callable[[Sequence[_Work[Any]], Sequence[Any]], None]"


@dataclass(slots=True)
class _Work(Generic[Result]):
    call: Callable[[], Result]
    future: asyncio.Future[Result]

    def run(self) -> Result | BaseException:
        """Blocking."""
        try:
            return self.call()
        except Exception as error:  # noqa: BLE001 - who asked for it is told
            return error
        except BaseException as error:  # noqa: BLE001 - so that of a Rust library in a panic is caught, too
            failure = RuntimeError(repr(error))
            failure.__cause__ = error
            return failure

    def resolve(self, outcome: Result | BaseException) -> None:
        if self.future.done():  # whoever asked has gone
            return
        if isinstance(outcome, BaseException):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Offload:
    """Runs calls in threads; small ones that come while others are under way go in one hop after them.

    Args:
        threads: Where.
    """

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._waiting: list[_Work[Any]] = []
        self._cost = 0  # of what waits
        self._hops = 0  # of small work, under way or about to be

    async def run(self, call: Callable[[], Result], cost: int) -> Result:
        """Run a call in a thread; raises what it raises.

        Args:
            call: What to run.
            cost: Characters that it is about.
        """
        loop = asyncio.get_running_loop()
        work = _Work(call, loop.create_future())
        if cost > LARGE:
            self._threads.submit(_run, [work], loop, _resolve)
        else:
            self._waiting.append(work)
            self._cost += cost
            if not self._hops:
                self._hops = 1
                loop.call_soon(self._hop, loop)
            elif self._cost > LARGE:  # worth a hop of its own
                self._hops += 1
                self._hop(loop)
        result: Result = await work.future
        return result

    def _hop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start all that waits; there is room for it in `_hops`."""
        works, self._waiting, self._cost = self._waiting, [], 0
        if works:
            self._threads.submit(_run, works, loop, self._land)
        else:
            self._hops -= 1

    def _land(self, works: Sequence[_Work[Any]], outcomes: Sequence[Any]) -> None:
        _resolve(works, outcomes)
        self._hop(asyncio.get_running_loop())


def _run(works: Sequence[_Work[Any]], loop: asyncio.AbstractEventLoop, land: _Land) -> None:
    """Blocking. Without an asyncio future around it, that would cost a turn of the loop more."""
    outcomes = [work.run() for work in works]
    loop.call_soon_threadsafe(land, works, outcomes)


def _resolve(works: Sequence[_Work[Any]], outcomes: Sequence[Any]) -> None:
    for work, outcome in zip(works, outcomes, strict=True):
        work.resolve(outcome)
