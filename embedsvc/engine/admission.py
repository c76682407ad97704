"""The doors of the engine: bounds on the tokens inside, tokenizing included."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embedsvc.errors import OverloadedError
from embedsvc.types import Caller

STREAMS = 4
"""Streams, which wait at the door, have one part in so many; calls, which cannot wait, have the rest."""


class Door:
    """Counts tokens in, and keeps more than `capacity` out.

    Who is larger than the capacity is let in when nobody else is: memory stays bounded by the
    capacity and one request.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}  # the first one's turn it is

    def fits(self, tokens: int) -> bool:
        """Whether there is room."""
        return self.held == 0 or self.held + tokens <= self.capacity

    async def acquire(self, tokens: int, caller: str = "") -> None:
        """Take room, waiting for it: callers by turns, and the requests of one first come first served."""
        if self.fits(tokens) and not self._waiting:
            self.held += tokens
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append((tokens, turn))
        try:
            await turn
        except asyncio.CancelledError:
            let_in = turn.done() and not turn.cancelled()  # and cancelled in the same moment
            self.release(tokens if let_in else 0)
            raise

    def release(self, tokens: int) -> None:
        """Give room back, and let in who fits."""
        self.held -= tokens
        while self._waiting:
            caller, requests = next(iter(self._waiting.items()))
            wanted, turn = requests[0]
            if not turn.cancelled():
                if not self.fits(wanted):
                    return
                self.held += wanted
                turn.set_result(None)
            requests.popleft()
            del self._waiting[caller]
            if requests:
                self._waiting[caller] = requests  # to the end of the round


class Admission:
    """Two doors, so that streams and calls cannot shut each other out.

    Tokens are those that a request may have before it is tokenized, at most.

    At the door of calls no caller takes more than two thirds, and no request counts for more than one third:
    however much one caller sends, there is room for the others.
    """

    def __init__(self, capacity: int) -> None:
        self._streams = Door(max(1, capacity // STREAMS))
        self._calls = Door(max(1, capacity - capacity // STREAMS))
        self._by_caller: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """Tokens inside."""
        return self._streams.held + self._calls.held

    @asynccontextmanager
    async def admit(self, tokens: int, caller: Caller) -> AsyncIterator[None]:
        """Hold room for `tokens` while the context is open; a patient caller waits for it.

        Raises:
            OverloadedError: There is no room, and the caller is not patient.
        """
        if caller.patient:
            await self._streams.acquire(tokens, caller.name)
            try:
                yield
            finally:
                self._streams.release(tokens)
            return
        tokens = min(tokens, self._calls.capacity // 3)
        self._enter(tokens, caller.name)
        try:
            yield
        finally:
            self._calls.release(tokens)
            self._by_caller[caller.name] -= tokens
            if not self._by_caller[caller.name]:
                del self._by_caller[caller.name]

    def _enter(self, tokens: int, name: str) -> None:
        if not self._calls.fits(tokens):
            raise OverloadedError("the queue is full; try again later")
        if self._by_caller[name] + tokens > 2 * self._calls.capacity // 3:
            raise OverloadedError("this key has as much in the queue as one key may; try again later")
        self._calls.held += tokens
        self._by_caller[name] += tokens
