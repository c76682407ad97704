"""The door of the engine: a bound on the tokens that wait, tokenizing included."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embedsvc.errors import OverloadedError


class Admission:
    """Counts tokens in, and refuses more than `capacity` at a time.

    A request larger than the capacity is let in when nothing else is: memory stays bounded by the
    capacity and one request.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        """Tokens inside."""
        return self._held

    @asynccontextmanager
    async def admit(self, tokens: int, *, patient: bool) -> AsyncIterator[None]:
        """Hold room for `tokens` while the context is open.

        Args:
            tokens: The most that the request can cost.
            patient: Wait for room, first come first served, rather than fail.

        Raises:
            OverloadedError: There is no room, and the caller is not patient.
        """
        if patient:
            await self.acquire(tokens)
        elif self._fits(tokens):
            self._held += tokens
        else:
            raise OverloadedError("the queue is full; try again later")
        try:
            yield
        finally:
            self.release(tokens)

    async def acquire(self, tokens: int) -> None:
        """Take room, waiting for it first come first served."""
        if self._fits(tokens) and not self._waiting:
            self._held += tokens
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((tokens, turn))
        try:
            await turn
        except asyncio.CancelledError:
            let_in = turn.done() and not turn.cancelled()  # and cancelled in the same moment
            self.release(tokens if let_in else 0)
            raise

    def release(self, tokens: int) -> None:
        """Give room back, and let in who fits."""
        self._held -= tokens
        while self._waiting:
            wanted, turn = self._waiting[0]
            if not turn.cancelled():
                if not self._fits(wanted):
                    return
                self._held += wanted
                turn.set_result(None)
            self._waiting.popleft()

    def _fits(self, tokens: int) -> bool:
        return self._held == 0 or self._held + tokens <= self._capacity
