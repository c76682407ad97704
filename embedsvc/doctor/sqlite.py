"""The store as a file: whether it opens, is whole, and may be written. It is neither made nor changed."""

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from embedsvc.config import Settings
from embedsvc.doctor import callers
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.store.records import KeyRecord
from embedsvc.store.sqlite import keys
from embedsvc.store.sqlite.store import VERSION

SUBJECT = Subject("store")
CHECK_SECONDS = 5.0
"""How long reading the whole file may take."""

MEBIBYTE = 2**20
STEPS = 100_000
"""Of SQLite's own machine, between two looks at the clock; some milliseconds."""

RESTORE = "Stop the servers, keep a copy of it, and go back to the last backup: docs/operations.md#the-store"


@dataclass(frozen=True, slots=True)
class Content:
    """What a file says.

    Attributes:
        version: Of its schema.
        complaint: What SQLite finds wrong; None where nothing is, or it took too long to find out.
        keys: Every API key.
    """

    version: int
    complaint: str | None
    keys: Sequence[KeyRecord]


def look(settings: Settings) -> Iterator[Finding]:
    """Look at `store.path`."""
    path = settings.store.path
    try:
        path.stat()
        content = read(path)
    except FileNotFoundError:
        yield SUBJECT.note(
            f"there is no file {path} yet, in {Path.cwd()}",
            "The server's start makes it, or `embedsvc keys create`. Was there one? Look for its folder",
        )
        return
    except PermissionError as error:
        yield SUBJECT.error(f"{path} cannot be read: {error.strerror}", "Run the doctor as the server's user")
        return
    except (OSError, sqlite3.Error, ValueError) as error:
        yield SUBJECT.error(f"{path} cannot be read: {error}", RESTORE)
        return
    yield from _judge(path, content, settings)
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        advice = "Let the user that the server runs as write both: SQLite keeps files beside it"
        yield SUBJECT.error(f"{path}, or its folder, may not be written by this user", advice)


def read(path: Path) -> Content:
    """Read a file. Raises OSError or sqlite3.Error."""
    # Where nobody has it open, a plain reader would leave two files beside it.
    way = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{way}", uri=True, timeout=1)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        return Content(version, _complaint(db), keys.list_all(db) if 0 < version <= VERSION else [])


def _complaint(db: sqlite3.Connection) -> str | None:
    ends = time.monotonic() + CHECK_SECONDS
    db.set_progress_handler(lambda: int(time.monotonic() > ends), STEPS)
    try:
        found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return None
    finally:
        db.set_progress_handler(None, 0)
    return None if found == "ok" else found


def _judge(path: Path, content: Content, settings: Settings) -> Iterator[Finding]:
    if content.complaint:
        yield SUBJECT.error(f"{path} is damaged: {content.complaint}", RESTORE)
    elif content.version > VERSION:
        yield SUBJECT.error(
            f"{path} is of a later release (schema {content.version}, known is {VERSION})",
            "Start the release that has written it, or go back to a backup from before",
        )
    elif content.version == 0:
        yield SUBJECT.note(f"{path} is empty", "The start of the server fills it")
    elif not _is_wal(path):
        yield SUBJECT.warning(
            f"{path} is not in WAL mode: readers and writers wait for each other",
            f"Stop the servers, then `sqlite3 {path} 'PRAGMA journal_mode = WAL'`",
        )
    else:
        size = path.stat().st_size / MEBIBYTE
        yield SUBJECT.ok(f"{path}: schema {content.version}, WAL, whole, {size:,.1f} MiB")
        yield callers.judge(content.keys, settings)


def _is_wal(path: Path) -> bool:
    """What the file's head says of it: https://sqlite.org/fileformat2.html, offset 18."""
    with path.open("rb") as file:
        return file.read(20)[18:20] == b"\x02\x02"
