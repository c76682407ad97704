"""Rows on their way to the second level: nobody waits for them, and not too many wait."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import islice

import structlog
from prometheus_client import Counter

from embedsvc.background import running
from embedsvc.cache.memory import size_of
from embedsvc.cache.row import Key, Row
from embedsvc.cache.second import Second
from embedsvc.cache.wire import encode
from embedsvc.store.protocols import StoreError

MOST_BYTES = 16 * 2**20
"""Of the rows that wait."""

AT_ONCE = 128
"""Rows that are written together: making them ready holds the event loop for less than a millisecond."""

PAUSE_SECONDS = 0.05
"""At least so long before what failed is tried again."""

LEAVE_SECONDS = 2.0
"""How long what waits at the end may take."""


log = structlog.get_logger()


class Behind:
    """Writes rows, the first to come first. For one event loop. Open it with `open_behind`.

    Args:
        second: Where to.
        dropped: Counts rows that are not written.
    """

    def __init__(self, second: Second, dropped: Counter) -> None:
        self._second = second
        self._dropped = dropped
        self._waiting: dict[Key, Row] = {}
        self._bytes = 0
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, rows: Iterable[tuple[Key, Row]]) -> None:
        """Have rows written; those that do not fit in are not."""
        dropped = 0
        for key, row in rows:
            size = size_of(row)
            if key in self._waiting:
                continue
            if self._bytes + size > MOST_BYTES:
                dropped += 1
                continue
            self._waiting[key] = row
            self._bytes += size
        if dropped:
            self._dropped.inc(dropped)
        if self._waiting:
            self._filled.set()
            self._idle.clear()

    def forget(self) -> None:
        """Let go what waits."""
        self._remove(dict(self._waiting))

    async def drain(self) -> None:
        """Write whatever comes."""
        while True:
            await self._filled.wait()
            await self._write_some()

    async def finish(self) -> None:
        """Wait until all is written, or cannot be; what is left after a while is dropped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._idle.wait()
        if self._waiting:
            log.warning("the cache's last rows are not written", rows=len(self._waiting))
            self._dropped.inc(len(self._waiting))

    async def _write_some(self) -> None:
        batch = dict(islice(self._waiting.items(), AT_ONCE))
        try:
            await self._second.set_many({key.short: encode(key, row) for key, row in batch.items()})
        except StoreError:  # of which the guard has told
            self._idle.set()
            await asyncio.sleep(max(PAUSE_SECONDS, self._second.pause_left))
        else:
            self._remove(batch)

    def _remove(self, batch: Mapping[Key, Row]) -> None:
        for key, row in batch.items():
            if self._waiting.get(key) is row:  # else it was forgotten meanwhile, and may have come again
                del self._waiting[key]
                self._bytes -= size_of(row)
        if not self._waiting:
            self._filled.clear()
            self._idle.set()


@asynccontextmanager
async def open_behind(second: Second, dropped: Counter) -> AsyncIterator[Behind]:
    """Write in the background while the context is open; leaving writes what is left."""
    behind = Behind(second, dropped)
    async with running(behind.drain):
        try:
            yield behind
        finally:
            await behind.finish()
