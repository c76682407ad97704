"""Vectors of texts that were seen before: what memory has, and behind it the second level."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Literal

import structlog

from embedsvc.background import running
from embedsvc.cache.behind import Behind, open_behind
from embedsvc.cache.memory import Memory
from embedsvc.cache.redis import Password
from embedsvc.cache.row import Key, Row
from embedsvc.cache.second import Second, open_second
from embedsvc.cache.wire import CorruptRowError, decode
from embedsvc.config.cache import CacheSettings
from embedsvc.metrics.cache import CacheMetrics
from embedsvc.periods import DAY

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""How often a server looks whether the cache was cleared."""

UPKEEP_SECONDS = 15.0
"""How often what has expired is let go, and what there is is counted."""

MANY = 256
"""Rows that are read from their bytes, or looked over, on the event loop: a millisecond."""


class Cache:
    """What was computed before. For one event loop. Open it with `open_cache`.

    Args:
        settings: How it is.
        memory: The first level.
        second: The second level; None: there is none.
        behind: What writes to it.
        metrics: Where it is counted.

    Attributes:
        ttl: Seconds that rows live.
        scope: Who gets what was computed for whom: see `CacheSettings.scope`.
    """

    def __init__(
        self,
        settings: CacheSettings,
        memory: Memory,
        second: Second | None,
        behind: Behind | None,
        metrics: CacheMetrics,
    ) -> None:
        self.ttl = settings.ttl_days * DAY
        self.scope: Literal["all", "key"] = settings.scope
        self._memory = memory
        self._second = second
        self._behind = behind
        self._corrupt = metrics.corrupt
        self._cleared = 0

    def recall(self, keys: Sequence[Key]) -> list[Row | None]:
        """What memory has of some keys, in their order."""
        return self._memory.get_many(keys, time.time())

    async def fetch(self, keys: Sequence[Key]) -> list[Row | None]:
        """What the second level has of some keys, in their order; memory has it, too, from then on.

        One look-up, which never fails: where the level is away, slow or has something else, nothing is found.
        """
        cleared = self._cleared
        found = await self._second.get_many(keys) if self._second and keys else {}
        if not found:
            return [None] * len(keys)
        asked = [(key, found.get(key.short)) for key in keys]
        reading = partial(self._read, asked)
        rows = await asyncio.to_thread(reading) if len(found) > MANY else reading()
        if cleared == self._cleared:  # else they are of before
            self._memory.put_many((key, row) for key, row in zip(keys, rows, strict=True) if row)
        return rows

    async def keep(self, rows: Sequence[tuple[Key, Row]]) -> None:
        """Have rows from now on: in memory when this returns, in the second level a moment later."""
        checking = partial(_whole, rows)
        whole = await asyncio.to_thread(checking) if len(rows) > MANY else checking()
        self._memory.put_many(whole)
        if self._behind:
            self._behind.put(whole)

    def forget(self) -> None:
        """Have nothing of what was kept before, but for what is in the second level."""
        self._cleared += 1
        self._memory.clear()
        if self._behind:
            self._behind.forget()

    def _read(self, asked: Sequence[tuple[Key, bytes | None]]) -> list[Row | None]:
        now = time.time()
        return [None if data is None else self._decode(key, data, now) for key, data in asked]

    def _decode(self, key: Key, data: bytes, now: float) -> Row | None:
        try:
            return decode(key, data, now)
        except CorruptRowError:
            self._corrupt.inc()
            return None


@asynccontextmanager
async def open_cache(
    settings: CacheSettings, password: Password | None, metrics: CacheMetrics, processes: int = 1
) -> AsyncIterator[Cache | None]:
    """Have a cache while the context is open; leaving writes what is left. None where it is turned off.

    Args:
        settings: How it is; `memory_bytes` is this process's part.
        password: Returns Redis's password, as it is now; None: there is none.
        metrics: Where it is counted.
        processes: Processes of this server that share the second level, and each show a part of what it has.
    """
    if not settings.enabled:
        yield None
        return
    async with AsyncExitStack() as stack:
        second, behind = await stack.enter_async_context(open_second(settings, password, metrics)), None
        if second:
            behind = await stack.enter_async_context(open_behind(second, metrics.dropped))
        cache = Cache(settings, Memory(settings.memory_bytes, metrics), second, behind, metrics)
        if second:
            await stack.enter_async_context(running(partial(_watch, cache, second, metrics)))
            await stack.enter_async_context(running(partial(_keep_up, second, metrics, processes)))
        yield cache


async def _watch(cache: Cache, second: Second, metrics: CacheMetrics) -> None:
    """Forget what was kept when somebody has cleared the second level."""
    known: str | None = None
    while True:
        generation = await second.generation()
        if generation and generation != known:
            cache.forget()
            if known is not None:
                log.info("the cache was cleared")
        if generation is not None:
            known = generation or known or ""  # what Redis has lost says nothing
        metrics.away.set(second.is_away)
        await asyncio.sleep(LOOK_SECONDS)


async def _keep_up(second: Second, metrics: CacheMetrics, processes: int) -> None:
    """Keep the second level in order, and show how much it has: a part, which processes add up."""
    while True:
        await second.upkeep()
        if measure := await second.measure():
            metrics.held_bytes.labels("second").set(measure.bytes / processes)
            metrics.rows.labels("second").set(measure.rows / processes)
        await asyncio.sleep(UPKEEP_SECONDS)


def _whole(rows: Sequence[tuple[Key, Row]]) -> list[tuple[Key, Row]]:
    """Those whose vectors are of numbers: one that is not would be answered for weeks."""
    return [(key, row) for key, row in rows if math.isfinite(float(row.vector @ row.vector))]
