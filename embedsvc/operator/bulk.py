"""Sends texts in bulk: requests of one stream, some of them again where the server asks to wait."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MOST_TRIES = 20
"""Of one request: a limit that never lets it in must not keep a command for ever."""


class Streamed(NamedTuple):
    """What came back for one request of a stream.

    Attributes:
        texts: How many it had.
        cached: Texts whose vectors came from a cache.
        tokens: Tokens that the model read.
        refused: Why texts have no vector, for each of those.
    """

    texts: int
    cached: int = 0
    tokens: int = 0
    refused: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Batch:
    texts: Sequence[str]
    tries: int = 1


class Bulk:
    """What one stream is to send, and has had no answer to. For one event loop.

    Args:
        batches: The texts of each request; taken when there is room for them.
    """

    def __init__(self, batches: Iterable[Sequence[str]]) -> None:
        self._fresh = iter(batches)
        self._again: deque[_Batch] = deque()
        self._open: dict[str, _Batch] = {}
        self._numbers = itertools.count(1)
        self._held_until = 0.0
        self._changed = asyncio.Event()

    async def requests(self) -> AsyncIterator[tuple[str, Sequence[str]]]:
        """What to send next, under which id, until all is answered."""
        while True:
            await asyncio.sleep(self._held_until - asyncio.get_running_loop().time())
            batch = self._next()
            if batch:
                name = str(next(self._numbers))
                self._open[name] = batch
                yield name, batch.texts
            elif not self._open:
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    def answered(self, name: str) -> Sequence[str]:
        """Note that a request is done with; return its texts."""
        self._changed.set()
        return self._open.pop(name).texts

    def again(self, name: str, seconds: float) -> bool:
        """Have a request sent once more, and nothing for so long; False where it was tried too often."""
        batch = self._open[name]
        if batch.tries >= MOST_TRIES:
            return False
        self.answered(name)
        self._again.append(_Batch(batch.texts, batch.tries + 1))
        self._held_until = asyncio.get_running_loop().time() + seconds
        return True

    def _next(self) -> _Batch | None:
        if self._again:
            return self._again.popleft()
        texts = next(self._fresh, None)
        return _Batch(texts) if texts else None
