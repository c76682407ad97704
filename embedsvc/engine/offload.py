"""Blocking work off the event loop; what comes at once goes together, since a hop costs more than a text."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

LARGE = 4096
"""Work that costs more goes by itself, so that nobody waits for it."""


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
    """Runs calls in threads; small ones of one turn of the event loop in one hop.

    Args:
        threads: Where.
    """

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._waiting: list[_Work[Any]] = []

    async def run(self, call: Callable[[], Result], cost: int) -> Result:
        """Run a call in a thread; raises what it raises.

        Args:
            call: What to run.
            cost: Characters that it is about.
        """
        loop = asyncio.get_running_loop()
        work = _Work(call, loop.create_future())
        if cost > LARGE:
            self._start([work])
        else:
            if not self._waiting:
                loop.call_soon(self._start_waiting)
            self._waiting.append(work)
        result: Result = await work.future
        return result

    def _start_waiting(self) -> None:
        works, self._waiting = self._waiting, []
        self._start(works)

    def _start(self, works: Sequence[_Work[Any]]) -> None:
        running = asyncio.get_running_loop().run_in_executor(self._threads, _run, works)
        running.add_done_callback(partial(_resolve, works))


def _run(works: Sequence[_Work[Any]]) -> Sequence[Any]:
    return [work.run() for work in works]


def _resolve(works: Sequence[_Work[Any]], done: asyncio.Future[Sequence[Any]]) -> None:
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    outcomes = done.result() if error is None else [error] * len(works)
    for work, outcome in zip(works, outcomes, strict=True):
        work.resolve(outcome)
