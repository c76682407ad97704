"""The log of requests and of failed authentications in SQLite, and sums of it by day."""

import sqlite3
from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter

from embedsvc.store.protocols import MOST_FAILURES
from embedsvc.store.records import FailureRow, RequestRow, UsageRow
from embedsvc.store.usage import add_up

REQUEST, FAILURE, USAGE = (
    [field.name for field in fields(row)] for row in (RequestRow, FailureRow, UsageRow)
)

ADD_USAGE = """
INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day, key, identity, model) DO UPDATE SET
  requests = requests + excluded.requests,
  errors = errors + excluded.errors,
  inputs = inputs + excluded.inputs,
  tokens = tokens + excluded.tokens,
  cached = cached + excluded.cached,
  latency_ms = latency_ms + excluded.latency_ms,
  slowest_ms = max(slowest_ms, excluded.slowest_ms)
"""


def log_requests(db: sqlite3.Connection, batch_id: str, rows: Sequence[RequestRow], now: float) -> None:
    """See `LedgerStore.log_requests`."""
    if _is_new(db, batch_id, now):
        db.executemany(_insert("requests", REQUEST), map(attrgetter(*REQUEST), rows))
        db.executemany(ADD_USAGE, map(attrgetter(*USAGE), add_up(rows)))


def log_failures(db: sqlite3.Connection, batch_id: str, rows: Sequence[FailureRow], now: float) -> None:
    """See `LedgerStore.log_failures`."""
    if _is_new(db, batch_id, now):
        db.executemany(_insert("failures", FAILURE), map(attrgetter(*FAILURE), rows))


def usage(db: sqlite3.Connection, first_day: str, last_day: str) -> Sequence[UsageRow]:
    """See `LedgerStore.usage`."""
    rows = db.execute(
        "SELECT * FROM usage WHERE day BETWEEN ? AND ? ORDER BY day, key, identity, model",
        (first_day, last_day),
    )
    return [UsageRow(*row) for row in rows]


def failures(db: sqlite3.Connection, since: float) -> Sequence[FailureRow]:
    """See `LedgerStore.failures`."""
    rows = db.execute(
        "SELECT * FROM failures WHERE last_at >= ? ORDER BY last_at DESC LIMIT ?", (since, MOST_FAILURES)
    )
    return [FailureRow(*row) for row in rows]


def purge(db: sqlite3.Connection, before: float, usage_before_day: str, limit: int) -> int:
    """See `LedgerStore.purge`."""
    gone = (
        _forget(db, "requests", "at", before, limit),
        _forget(db, "failures", "last_at", before, limit),
        _forget(db, "usage", "day", usage_before_day, limit),
    )
    _forget(db, "batches", "at", before, limit)
    return sum(gone)


def _forget(db: sqlite3.Connection, table: str, column: str, before: float | str, limit: int) -> int:
    some = f"SELECT rowid FROM {table} WHERE {column} < ? LIMIT ?"  # noqa: S608 - names of ours
    return db.execute(f"DELETE FROM {table} WHERE rowid IN ({some})", (before, limit)).rowcount  # noqa: S608


def _is_new(db: sqlite3.Connection, batch_id: str, now: float) -> bool:
    return db.execute("INSERT OR IGNORE INTO batches VALUES (?, ?)", (batch_id, now)).rowcount == 1


def _insert(table: str, names: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({','.join(names)}) VALUES ({','.join('?' * len(names))})"  # noqa: S608
