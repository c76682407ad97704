"""The second level as a file: one thread writes, one reads, the event loop waits for neither."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from embedsvc.cache import sqlite_file as file
from embedsvc.cache import sqlite_rows as rows
from embedsvc.cache.level import Measure
from embedsvc.config.cache import CacheSettings
from embedsvc.store.protocols import StoreAwayError, StoreRefusedError
from embedsvc.store.sqlite.lane import Lane, Work, code_of

BUSY_SECONDS = 2.0
"""How long a writer waits for another process's."""

REFUSALS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""What may keep writers out of a file that can be read."""

PAGES = 64
"""That are given back to the disk in one transaction: a megabyte."""

SPARE_PAGES = 256
"""Free ones that the file keeps while servers write to it."""

STEPS = 32
"""Transactions of one kind of upkeep; what is left, the next one does."""

T = TypeVar("T")


class SqliteLevel:
    """See `level.Level`. Open it with `open_sqlite_level`."""

    def __init__(self, reading: Lane, writing: Lane, settings: CacheSettings) -> None:
        self._reading = reading
        self._writing = writing
        self._path = settings.path
        self._bound = settings.disk_bytes
        self._file: os.stat_result | None = None
        self._ready = False
        self._damaged = False

    @property
    def name(self) -> str:
        """See Level."""
        return f"the file {self._path}"

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """See Level."""
        return await self._run(self._reading, partial(rows.get_many, keys=keys))

    async def set_many(
        self, written: Mapping[str, bytes], seconds: float, generation: str | None = None
    ) -> int:
        """See Level."""
        expires_at = time.time() + seconds
        return await self._write(
            partial(rows.set_many, rows=written, expires_at=expires_at, bound=self._bound, known=generation)
        )

    async def clear(self) -> int:
        """See Level."""
        count = await self._write(rows.clear)
        await self._writing.call(partial(file.compact, self._path, BUSY_SECONDS))
        return count

    async def generation(self) -> str:
        """See Level."""
        return await self._run(self._reading, rows.generation)

    async def measure(self) -> Measure:
        """See Level."""
        return await self._run(self._reading, partial(rows.measure, bound=self._bound))

    async def upkeep(self) -> None:
        """See Level."""
        for work in (
            partial(rows.purge, now=time.time()),
            partial(rows.shrink, pages=PAGES, spare=SPARE_PAGES, bound=self._bound),
        ):
            for _ in range(STEPS):
                if not await self._write(work):
                    break

    async def _write(self, work: Work[T]) -> T:
        try:
            return await self._run(self._writing, work)
        except StoreAwayError as error:
            if code_of(error.__cause__) in REFUSALS:
                raise StoreRefusedError(str(error)) from error
            raise

    async def _run(self, lane: Lane, work: Work[T]) -> T:
        if not self._ready:
            self._file = await self._writing.call(self._mend())
            self._ready, self._damaged = True, False
        try:
            return await lane.run(work)
        except StoreAwayError as error:
            self._ready, self._damaged = False, code_of(error.__cause__) in file.BROKEN
            raise

    def _mend(self) -> Callable[[], os.stat_result]:
        """What is done to the file before anything is asked of it, at first and after it has failed."""
        if self._damaged and self._file:
            return partial(file.replace, self._path, self._file, BUSY_SECONDS)
        return partial(file.prepare, self._path, BUSY_SECONDS)


@asynccontextmanager
async def open_sqlite_level(settings: CacheSettings) -> AsyncIterator[SqliteLevel]:
    """Use a file while the context is open; it is made, or made anew, when it is first needed."""
    reading = Lane(settings.path, "BEGIN", settings.wait_seconds)
    writing = Lane(settings.path, "BEGIN IMMEDIATE", BUSY_SECONDS)
    try:
        yield SqliteLevel(reading, writing, settings)
    finally:
        await asyncio.gather(reading.close(), writing.close())
