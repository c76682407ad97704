"""Blocking work off the event loop; what comes together goes together, since a hop costs more than a text."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

LARGE = 4096
"""Items that cost more go by themselves, so that nobody waits for them."""

PLENTY = 16_384
"""Small items that cost more together wait for nobody."""


@dataclass(frozen=True, slots=True)
class Threads:
    """Where blocking work is done.

    Attributes:
        one: A single thread for small items. Several would do no more of them, since they take turns at the
            interpreter, and each turn costs more than an item.
        many: For what is large, so that small items never wait for it.
    """

    one: ThreadPoolExecutor
    many: ThreadPoolExecutor


@contextmanager
def open_threads(many: int, name: str) -> Iterator[Threads]:
    """Have threads of a name while the context is open; leaving waits for what they are at."""
    with (
        ThreadPoolExecutor(1, thread_name_prefix=name) as one,
        ThreadPoolExecutor(many, thread_name_prefix=f"{name}-large") as rest,
    ):
        yield Threads(one, rest)


@dataclass(slots=True)
class _Work(Generic[Item, Result]):
    item: Item
    future: asyncio.Future[Result]

    def resolve(self, outcome: Result | Exception) -> None:
        if self.future.done():  # whoever asked has gone
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Offload(Generic[Item, Result]):
    """One kind of work, in threads: small items that come while others are under way share the next hop.

    Args:
        threads: Where.
        work: Does it: a result for each item. Items that it fails on together are tried one by one.
    """

    def __init__(self, threads: Threads, work: Callable[[Sequence[Item]], Sequence[Result]]) -> None:
        self._threads = threads
        self._work = work
        self._waiting: list[_Work[Item, Result]] = []
        self._cost = 0  # of what waits
        self._hops = 0  # of small items, under way or about to be

    async def run(self, item: Item, cost: int) -> Result:
        """Do the work on an item; raises what the work does.

        Args:
            item: What to work on.
            cost: Characters that it is about.
        """
        loop = asyncio.get_running_loop()
        work = _Work(item, loop.create_future())
        if cost > LARGE:
            self._start([work], self._threads.many, partial(_resolve, [work]))
        else:
            self._waiting.append(work)
            self._cost += cost
            if not self._hops:
                self._hops = 1
                loop.call_soon(self._hop, self._threads.one)
            elif self._cost > PLENTY:
                self._hops += 1
                self._hop(self._threads.many)
        result: Result = await work.future
        return result

    def _hop(self, threads: ThreadPoolExecutor) -> None:
        """Start all that waits; there is room for it in `_hops`."""
        works, self._waiting, self._cost = self._waiting, [], 0
        if works:
            self._start(works, threads, partial(self._land, works))
        else:
            self._hops -= 1

    def _land(self, works: Sequence[_Work[Item, Result]], outcomes: Sequence[Result | Exception]) -> None:
        _resolve(works, outcomes)
        self._hop(self._threads.one)

    def _start(
        self,
        works: Sequence[_Work[Item, Result]],
        threads: ThreadPoolExecutor,
        land: Callable[[Sequence[Result | Exception]], None],
    ) -> None:
        # Without an asyncio future around it, which would cost a turn of the loop more.
        loop, items = asyncio.get_running_loop(), [work.item for work in works]
        threads.submit(lambda: loop.call_soon_threadsafe(land, self._do(items)))

    def _do(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        """Blocking."""
        try:
            return self._work(items)
        except BaseException as error:  # noqa: BLE001 - that of a Rust library in a panic is no Exception
            if len(items) > 1:
                return [self._do([item])[0] for item in items]
            if isinstance(error, Exception):
                return [error]
            failure = RuntimeError(repr(error))
            failure.__cause__ = error
            return [failure]


def _resolve(works: Sequence[_Work[Item, Result]], outcomes: Sequence[Result | Exception]) -> None:
    for work, outcome in zip(works, outcomes, strict=True):
        work.resolve(outcome)
