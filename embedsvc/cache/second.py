"""The second level as the cache sees it: it never fails, it knows less."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from embedsvc.cache.behind import Behind, open_behind
from embedsvc.cache.guard import Guard
from embedsvc.cache.level import Level, Measure
from embedsvc.cache.redis import Password, open_redis_level
from embedsvc.cache.row import Key, Row
from embedsvc.cache.sqlite import open_sqlite_level
from embedsvc.config.cache import CacheSettings
from embedsvc.metrics.cache import CacheMetrics
from embedsvc.store.presence import Presence
from embedsvc.store.protocols import StoreError

DAY = 86_400

LOOK_SECONDS = 1.0
"""How long a question that no request waits for may take."""

WORK_SECONDS = 5.0
"""How long writing, and counting, may take."""


class Second:
    """Asks a level, and writes to it behind everybody's back. Open it with `open_second`.

    Args:
        level: Which.
        settings: How long requests wait, and rows live.
        metrics: Where all of it is counted.
    """

    def __init__(self, level: Level, settings: CacheSettings, metrics: CacheMetrics) -> None:
        self._level = level
        self._wait = settings.wait_seconds
        self._ttl = settings.ttl_days * DAY
        self._evicted = metrics.evicted.labels("second")
        away = Presence(
            f"the cache's second level, {level.name}, is away: texts that memory does not have are computed",
            "the cache's second level is back",
        )
        full = Presence(
            f"the cache's second level, {level.name}, takes no vectors: those that it has are found",
            "the cache's second level takes vectors again",
        )
        self._reading = Guard("get", metrics, away, away)
        self._writing = Guard("set", metrics, away, full)

    @property
    def is_away(self) -> bool:
        """Whether it is left alone because it failed."""
        return self._reading.is_open or self._writing.is_open

    async def get_many(self, keys: Sequence[Key]) -> Mapping[str, bytes]:
        """What it has, by short key; nothing where it does not answer in time."""
        names = list(dict.fromkeys(key.short for key in keys))
        try:
            return await self._reading.run(partial(self._level.get_many, names), self._wait)
        except StoreError:
            return {}

    async def generation(self) -> str:
        """See `Level.generation`; empty where it does not answer."""
        try:
            return await self._reading.run(self._level.generation, LOOK_SECONDS)
        except StoreError:
            return ""

    async def measure(self) -> Measure | None:
        """See `Level.measure`; None where it does not say."""
        if self.is_away:
            return None
        try:
            async with asyncio.timeout(WORK_SECONDS):
                return await self._level.measure()
        except (StoreError, TimeoutError):
            return None

    async def upkeep(self) -> None:
        """See `Level.upkeep`. Raises StoreError."""
        await self._writing.run(self._level.upkeep, WORK_SECONDS)

    async def write(self, rows: Mapping[str, bytes]) -> None:
        """Keep rows. Raises StoreError."""
        gone = await self._writing.run(partial(self._level.set_many, rows, self._ttl), WORK_SECONDS)
        self._evicted.inc(gone)

    def pause(self) -> float:
        """Seconds until writing makes sense."""
        return self._writing.pause_left
