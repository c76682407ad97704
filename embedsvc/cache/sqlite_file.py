"""The file of the cache: made where there is none, thrown away where it is damaged, and known from any other.

`cache.path` is a link to a file beside it, whose name is used once. SQLite deletes a file's journal by its
name when the last connection to that file ends: were a new file called like the one before it, a process
that lets go of the old one would delete the journal of the new one.
"""

import fcntl
import os
import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from embedsvc.store.sqlite.lane import code_of, connect

APPLICATION = 0x656D6243
"""PRAGMA application_id, "embC": which says of a file that it is a cache, and may be thrown away."""

VERSION = 1
"""PRAGMA user_version of the schema."""

PAGE_BYTES = 16_384
"""Rows of 384 to 1,024 dimensions fill such pages well."""

SCHEMA = (
    """CREATE TABLE rows (
        id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, expires_at REAL NOT NULL, row BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX rows_by_expiry ON rows (expires_at)",
    "CREATE TABLE state (generation TEXT NOT NULL, count INTEGER NOT NULL) STRICT",
    "INSERT INTO state VALUES ('', 0)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)

BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""What SQLite says of a file that is damaged, or none of its own."""


def prepare(path: Path, busy_seconds: float) -> os.stat_result:
    """Make a file where there is none; return which it is.

    Raises:
        OSError: It cannot be made.
        sqlite3.Error: The file there is no cache of this release, or is busy.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        made = path.exists() and _is_made(path, busy_seconds)
    except sqlite3.DatabaseError as error:
        if code_of(error) not in BROKEN or not is_cache(path):
            raise
        return replace(path, path.stat(), busy_seconds)
    if not made:
        with _locked(path):
            if not (path.exists() and _is_made(path, busy_seconds)):
                _place(path, busy_seconds)
    return path.stat()


def replace(path: Path, seen: os.stat_result, busy_seconds: float) -> os.stat_result:
    """Throw a damaged file away, and make another; return which it is.

    Args:
        path: Where it is.
        seen: Which it is: one that another process has put in its place stays.
        busy_seconds: How long to wait for another process.

    Raises:
        OSError: It cannot be thrown away, or made.
        sqlite3.Error: See `prepare`.
    """
    with _locked(path):
        if path.exists() and os.path.samestat(path.stat(), seen):
            _place(path, busy_seconds)
    return prepare(path, busy_seconds)


def compact(path: Path, busy_seconds: float) -> None:
    """Leave nothing on disk but the rows that there are; this takes the longer the more they are."""
    with closing(connect(path.resolve(), busy_seconds)) as db:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def is_cache(path: Path) -> bool:
    """Whether a file's head says that it is a cache (https://sqlite.org/fileformat2.html, offset 68)."""
    with path.open("rb") as file:
        return file.read(72)[68:] == APPLICATION.to_bytes(4)


def is_made(db: sqlite3.Connection) -> bool:
    """Whether a file is a cache of this release; False where it is empty.

    Raises:
        sqlite3.Error: It is something else, or cannot be read.
    """
    application, version, tables = (
        db.execute(question).fetchone()[0]
        for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT COUNT(*) FROM sqlite_master")
    )
    if application == APPLICATION and version == VERSION:
        return True
    if application or version or tables:
        raise sqlite3.NotSupportedError("the file is not a cache of this release, and is left alone")
    return False


def _is_made(path: Path, busy_seconds: float) -> bool:
    with closing(connect(path.resolve(), busy_seconds)) as db:
        return is_made(db)


def _place(path: Path, busy_seconds: float) -> None:
    """Make a file of a new name, have the link lead to it, and throw all others away."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    fresh.touch(mode=0o600)
    with closing(connect(fresh, busy_seconds)) as db:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        for statement in SCHEMA:
            db.execute(statement)
    link = path.with_name(f"{path.name}.new")
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(path)
    old = re.compile(rf"{re.escape(path.name)}(\.[0-9a-f]{{16}})?(-wal|-shm)?")
    for file in path.parent.iterdir():
        if old.fullmatch(file.name) and file != path and not file.name.startswith(fresh.name):
            file.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Be the only process in the block; leaving the block, or dying in it, lets the next in."""
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
