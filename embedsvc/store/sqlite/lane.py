"""A connection to a SQLite file in a thread of its own, so that the event loop waits for neither."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import tenacity
from pydantic import ValidationError

from embedsvc.store.protocols import StoreAwayError

JOURNAL_BYTES = 16 * 2**20
"""What a large transaction leaves of the file's journal."""

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class Lane:
    """A connection in a thread of its own.

    Args:
        path: The file, which is there.
        begin: How a transaction begins: "BEGIN" to read, "BEGIN IMMEDIATE" to write.
        busy_seconds: How long to wait for another process's.
    """

    def __init__(self, path: Path, begin: str, busy_seconds: float) -> None:
        self._path = path
        self._begin = begin
        self._busy_seconds = busy_seconds
        self._thread = ThreadPoolExecutor(1, "sqlite")
        self._db: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None

    async def run(self, work: Work[T]) -> T:
        """Do some work in one transaction. Raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    async def call(self, work: Callable[[], T]) -> T:
        """Do something else to the file in between. Raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, _guarded, work)

    def _transact(self, work: Work[T]) -> T:
        return _guarded(lambda: self._begun(work))

    def _begun(self, work: Work[T]) -> T:
        db = self._connected()
        db.execute(self._begin)
        with db:  # commits, or rolls back
            return work(db)

    def _connected(self) -> sqlite3.Connection:
        """A connection to the file that is there now: what goes into one that was deleted is lost."""
        path = self._path.resolve()  # whoever has a link lead elsewhere means so
        file = path.stat()
        if self._db is None or self._file is None or not os.path.samestat(file, self._file):
            self._disconnect()
            self._db, self._file = connect(path, self._busy_seconds), file
        return self._db

    async def close(self) -> None:
        """Finish what was begun, as long as that may take, then leave."""
        leaving = asyncio.wrap_future(self._thread.submit(self._disconnect))
        await asyncio.wait([leaving], timeout=self._busy_seconds)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Connect to a file. Raises sqlite3.Error."""
    db = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
    # In WAL mode this loses nothing when a process dies; when the machine does, the last moments.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
    return db


def waiting(busy_seconds: float) -> tenacity.Retrying:
    """Try again while another process has the file: SQLite waits by itself, but not to turn WAL on."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: code_of(error) == sqlite3.SQLITE_BUSY),
        stop=tenacity.stop_after_delay(busy_seconds),
        wait=tenacity.wait_random(max=0.05),
        reraise=True,
    )


def code_of(error: BaseException | None) -> int:
    """SQLite's primary code of an error; 0 of any other."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _guarded(work: Callable[[], T]) -> T:
    try:
        return work()
    except (OSError, sqlite3.Error) as error:
        raise StoreAwayError(f"SQLite: {error}") from error
    except ValidationError as error:
        raise StoreAwayError(f"SQLite: a {error.title} that is kept cannot be read") from error
