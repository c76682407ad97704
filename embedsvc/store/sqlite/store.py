"""SQLite behind the store's protocol: one thread writes, one reads, the event loop waits for neither."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from importlib.resources import files
from pathlib import Path

from embedsvc.errors import ConfigurationError
from embedsvc.store.records import (
    FailureRow,
    Grant,
    KeptRoute,
    KeyRecord,
    RequestRow,
    RouteRecord,
    UsageRow,
    Want,
)
from embedsvc.store.sqlite import keys, ledger, limits, routes
from embedsvc.store.sqlite.lane import Lane, connect, waiting

VERSION = 2
"""PRAGMA user_version of the schema: schema_1.sql, and each later file that makes the next one of it."""

BUSY_SECONDS = 5.0
"""How long a writer waits for another process's."""


class SQLiteStore:
    """See `protocols.Store`. Open it with `open_sqlite`."""

    def __init__(self, reading: Lane, writing: Lane, name: str) -> None:
        self.name = name
        self._reading = reading
        self._writing = writing

    async def find_keys(self, digests: Sequence[str]) -> Mapping[str, KeyRecord]:
        """See KeyStore."""
        return await self._reading.run(partial(keys.find, digests=digests))

    async def list_keys(self) -> Sequence[KeyRecord]:
        """See KeyStore."""
        return await self._reading.run(keys.list_all)

    async def create_key(self, key: KeyRecord) -> None:
        """See KeyStore."""
        await self._writing.run(partial(keys.create, key=key))

    async def rotate_key(self, digest: str, successor: KeyRecord, expires_at: float) -> None:
        """See KeyStore."""
        await self._writing.run(
            partial(keys.rotate, digest=digest, successor=successor, expires_at=expires_at)
        )

    async def revoke_key(self, digest: str, at: float) -> None:
        """See KeyStore."""
        await self._writing.run(partial(keys.revoke, digest=digest, at=at))

    async def touch_keys(self, used: Mapping[str, float]) -> None:
        """See KeyStore."""
        await self._writing.run(partial(keys.touch, used=used))

    async def lease(self, wants: Sequence[Want]) -> Sequence[Grant]:
        """See LimitStore."""
        return await self._writing.run(partial(limits.lease, wants=wants, now=time.time()))

    async def log_requests(self, batch_id: str, rows: Sequence[RequestRow]) -> None:
        """See LedgerStore."""
        await self._writing.run(partial(ledger.log_requests, batch_id=batch_id, rows=rows, now=time.time()))

    async def log_failures(self, batch_id: str, rows: Sequence[FailureRow]) -> None:
        """See LedgerStore."""
        await self._writing.run(partial(ledger.log_failures, batch_id=batch_id, rows=rows, now=time.time()))

    async def usage(self, first_day: str, last_day: str) -> Sequence[UsageRow]:
        """See LedgerStore."""
        return await self._reading.run(partial(ledger.usage, first_day=first_day, last_day=last_day))

    async def failures(self, since: float) -> Sequence[FailureRow]:
        """See LedgerStore."""
        return await self._reading.run(partial(ledger.failures, since=since))

    async def purge(self, before: float, usage_before_day: str, limit: int) -> int:
        """See LedgerStore."""
        return await self._writing.run(
            partial(ledger.purge, before=before, usage_before_day=usage_before_day, limit=limit)
        )

    async def list_routes(self) -> Sequence[KeptRoute]:
        """See RouteStore."""
        return await self._reading.run(routes.list_all)

    async def set_route(self, route: RouteRecord) -> None:
        """See RouteStore."""
        await self._writing.run(partial(routes.keep, route=route))

    async def remove_route(self, alias: str) -> None:
        """See RouteStore."""
        await self._writing.run(partial(routes.remove, alias=alias))


@asynccontextmanager
async def open_sqlite(path: Path) -> AsyncIterator[SQLiteStore]:
    """Open a file, made where there is none, while the context is open.

    Raises:
        ConfigurationError: It cannot be made or used.
    """
    try:
        where = await asyncio.to_thread(waiting(BUSY_SECONDS), _prepare, path)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"store.path {path}: {error}") from None
    reading, writing = (Lane(path, begin, BUSY_SECONDS) for begin in ("BEGIN", "BEGIN IMMEDIATE"))
    try:
        yield SQLiteStore(reading, writing, f"the file {where}")
    finally:
        await asyncio.gather(reading.close(), writing.close())


def _prepare(path: Path) -> Path:
    """Make a file where there is none, and of an earlier release's file one of ours; return where it is."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    with closing(connect(path, BUSY_SECONDS)) as db:
        if _version(db) == VERSION:
            return path.absolute()  # nothing to write: another process may be at it for long
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        for version in range(_version(db) + 1, VERSION + 1):
            for statement in (files(__package__) / f"schema_{version}.sql").read_text().split(";\n"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    return path.absolute()


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise sqlite3.DatabaseError(f"is of a later release (schema {version}, known is {VERSION})")
    return version
