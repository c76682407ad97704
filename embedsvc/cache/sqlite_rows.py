"""What is asked of the file of the cache; each within a transaction."""

import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence

from embedsvc.cache.level import Measure, is_cleared

ROW_BYTES = 80
"""What a row takes beside its bytes: its number, its key, twice, its expiry, and what SQLite adds."""

AT_ONCE = 1_000
"""Rows that are let go in one transaction, so that others get in between."""


def get_many(db: sqlite3.Connection, keys: Sequence[str]) -> Mapping[str, bytes]:
    """See `Level.get_many`."""
    named = json.dumps(keys)  # as one parameter: there are requests of more inputs than SQLite takes
    return dict(
        db.execute("SELECT key, row FROM rows WHERE key IN (SELECT value FROM json_each(?))", (named,))
    )


def set_many(
    db: sqlite3.Connection, rows: Mapping[str, bytes], expires_at: float, bound: int, known: str | None
) -> int:
    """See `Level.set_many`.

    Args:
        db: The file.
        rows: Which.
        expires_at: When they may be thrown away.
        bound: Bytes of the file: the oldest rows go where there are more.
        known: The generation that the rows are of; None: they are kept whichever it is.
    """
    if is_cleared(generation(db), known):
        return 0
    named = json.dumps(list(rows))
    replaced = db.execute("DELETE FROM rows WHERE key IN (SELECT value FROM json_each(?))", (named,)).rowcount
    _count(db, -replaced)
    gone = _make_room(db, sum(len(row) + ROW_BYTES for row in rows.values()), bound)
    found = [(key, expires_at, row) for key, row in rows.items()]
    db.executemany("INSERT INTO rows (key, expires_at, row) VALUES (?, ?, ?)", found)
    _count(db, len(found))
    return gone


def clear(db: sqlite3.Connection) -> int:
    """See `Level.clear`."""
    (count,) = db.execute("SELECT count FROM state").fetchone()
    db.execute("DELETE FROM rows")
    db.execute("UPDATE state SET generation = ?, count = 0", (secrets.token_hex(8),))
    return int(count)


def generation(db: sqlite3.Connection) -> str:
    """See `Level.generation`."""
    return str(db.execute("SELECT generation FROM state").fetchone()[0])


def measure(db: sqlite3.Connection, bound: int) -> Measure:
    """See `Level.measure`."""
    (count,) = db.execute("SELECT count FROM state").fetchone()
    (oldest,) = db.execute("SELECT MIN(expires_at) FROM rows").fetchone()
    (newest,) = db.execute("SELECT MAX(expires_at) FROM rows").fetchone()
    return Measure(count, _pragma(db, "page_count") * _pragma(db, "page_size"), bound, oldest, newest)


def purge(db: sqlite3.Connection, now: float) -> bool:
    """Let some go that have expired; return whether there may be more."""
    gone = db.execute(
        "DELETE FROM rows WHERE id IN (SELECT id FROM rows WHERE expires_at <= ? LIMIT ?)", (now, AT_ONCE)
    ).rowcount
    _count(db, -gone)
    return gone == AT_ONCE


def shrink(db: sqlite3.Connection, pages: int, spare: int, bound: int) -> bool:
    """Give pages that are free back to the disk; return whether there are more.

    Args:
        db: The file.
        pages: How many in this transaction.
        spare: How many stay for rows to come, in a file that is within its bound.
        bound: Bytes of the file.
    """
    size = _pragma(db, "page_count") * _pragma(db, "page_size")
    free = _pragma(db, "freelist_count") - (spare if size <= bound else 0)
    for _ in range(min(free, pages)):
        db.execute("PRAGMA incremental_vacuum(1)")  # of more, Python's module would not do the rest
    return free > pages


def _make_room(db: sqlite3.Connection, incoming: int, bound: int) -> int:
    """Let the oldest rows go, until so many bytes fit in; return how many went."""
    gone = 0
    while (excess := _used(db) + incoming - bound) > 0 and gone < AT_ONCE:
        (count,) = db.execute("SELECT count FROM state").fetchone()
        share = excess / max(1, _used(db))
        going = min(AT_ONCE, int(count * share) + 1)
        went = db.execute(
            "DELETE FROM rows WHERE id IN (SELECT id FROM rows ORDER BY id LIMIT ?)", (going,)
        ).rowcount
        _count(db, -went)
        if not went:
            break
        gone += went
    return gone


def _used(db: sqlite3.Connection) -> int:
    return (_pragma(db, "page_count") - _pragma(db, "freelist_count")) * _pragma(db, "page_size")


def _count(db: sqlite3.Connection, more: int) -> None:
    """Keep count: counting all of a large file takes seconds."""
    db.execute("UPDATE state SET count = count + ?", (more,))


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
