"""The second level as the cache sees it: it never fails, it knows less."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

import structlog

from embedsvc.cache.guard import Guard
from embedsvc.cache.level import Level, Measure
from embedsvc.cache.redis import Password, open_redis_level
from embedsvc.cache.row import Key
from embedsvc.cache.sqlite import open_sqlite_level
from embedsvc.config.cache import CacheSettings
from embedsvc.metrics.cache import CacheMetrics
from embedsvc.periods import DAY
from embedsvc.store.presence import Presence
from embedsvc.store.protocols import StoreError

log = structlog.get_logger()

T = TypeVar("T")

AT_ONCE = 256
"""Keys that are looked up together: a request that has more of them takes turns with others."""

LOOK_SECONDS = 1.0
"""How long a question that no request waits for may take."""

WORK_SECONDS = 5.0
"""How long writing, and counting, may take."""


class Second:
    """Asks a level. Open it with `open_second`.

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
        self._get_seconds = metrics.seconds.labels("get")
        self._set_seconds = metrics.seconds.labels("set")
        away = Presence(
            f"the cache's second level, {level.name}, is away: texts that memory does not have are computed",
            "the cache's second level is back",
        )
        full = Presence(
            f"the cache's second level, {level.name}, takes no vectors: those that it has are found",
            "the cache's second level takes vectors again",
        )
        self._defective = False
        self._seen: str | None = None
        self._reading = Guard("get", metrics, away)
        self._writing = Guard("set", metrics, full, lambda: self._reading.is_open)

    @property
    def is_away(self) -> bool:
        """Whether it is left alone because it failed."""
        return self._reading.is_open or self._writing.is_open

    async def get_many(self, keys: Sequence[Key]) -> Mapping[str, bytes]:
        """What it has by at least one key, by short key; without what does not come in time.

        How the level is, the first few say. That others do not come in time may be because they are many,
        which is no reason to leave it alone.
        """
        names = list(dict.fromkeys(key.short for key in keys))
        parts = [
            partial(self._level.get_many, names[at : at + AT_ONCE]) for at in range(0, len(names), AT_ONCE)
        ]
        clock = asyncio.get_running_loop().time
        until = clock() + self._wait
        found: dict[str, bytes] = {}
        with self._get_seconds.time(), suppress(StoreError):
            found.update(await self._reading.run(parts[0], self._wait))
            for part in parts[1:]:
                if (more := await self._tried(part, until - clock())) is None:
                    break
                found.update(more)
        return found

    async def set_many(self, rows: Mapping[str, bytes]) -> None:
        """Keep rows, unless it was cleared since it last said its generation. Raises StoreError."""
        with self._set_seconds.time():
            keeping = partial(self._level.set_many, rows, self._ttl, self._seen)
            self._evicted.inc(await self._writing.run(keeping, WORK_SECONDS))

    @property
    def pause_left(self) -> float:
        """Seconds until keeping rows makes sense."""
        return self._writing.pause_left

    async def generation(self) -> str | None:
        """See `Level.generation`; None where it does not answer.

        From then on rows of before are taken, too: where it is another, whoever asks lets go what waits.
        """
        try:
            generation = await self._reading.run(self._level.generation, LOOK_SECONDS)
        except StoreError:
            return None
        self._seen = generation or self._seen or ""  # what a level has lost says nothing
        return generation

    async def measure(self) -> Measure | None:
        """See `Level.measure`; None where it does not say."""
        return None if self.is_away else await self._tried(self._level.measure, WORK_SECONDS)

    async def upkeep(self) -> None:
        """See `Level.upkeep`."""
        if not self.is_away:
            await self._tried(self._level.upkeep, WORK_SECONDS)

    async def _tried(self, call: Callable[[], Awaitable[T]], seconds: float) -> T | None:
        """Do what says nothing of the level; None where it fails, or takes longer."""
        try:
            async with asyncio.timeout(seconds):
                return await call()
        except (StoreError, TimeoutError):
            return None
        except Exception:  # whatever it is, nobody's request fails of it
            if not self._defective:
                log.exception("the cache's second level does not do what it should", second=self._level.name)
            self._defective = True
            return None


@asynccontextmanager
async def open_second(
    settings: CacheSettings, password: Password | None, metrics: CacheMetrics
) -> AsyncIterator[Second | None]:
    """Use the level that the settings choose while the context is open; None where that is none.

    It need not be there, now or at any time.
    """
    if settings.second == "none":
        yield None
        return
    async with open_level(settings, password) as level:
        yield Second(level, settings, metrics)


def open_level(settings: CacheSettings, password: Password | None) -> AbstractAsyncContextManager[Level]:
    """The level that the settings choose, which is not none."""
    if settings.second == "redis":
        return open_redis_level(settings, password)
    return open_sqlite_level(settings)
