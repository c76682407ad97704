"""Limits that processes share, as windows in SQLite."""

import sqlite3
from collections.abc import Sequence

from embedsvc.store.records import Grant, Want


def lease(db: sqlite3.Connection, wants: Sequence[Want], now: float) -> Sequence[Grant]:
    """See `LimitStore.lease`."""
    return [_lease(db, want, now) for want in wants]


def _lease(db: sqlite3.Connection, want: Want, now: float) -> Grant:
    row = db.execute("SELECT period, started, used FROM windows WHERE name = ?", (want.name,)).fetchone()
    started, used = _window(row, want, now)
    units = max(0, min(want.units, want.limit - used))
    db.execute(
        "INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?)", (want.name, want.period, started, used + units)
    )
    return Grant(units, max(0, want.limit - used - units), started + want.period - now)


def _window(row: tuple[float, float, int] | None, want: Want, now: float) -> tuple[float, int]:
    """The start of the window that `now` is in, and the units that are gone of it."""
    if row is None:
        return now, 0
    period, started, used = row
    if period != want.period:  # a quota of another length begins anew
        return now, 0
    if now < started:  # the clock was set back
        return now, used
    passed = (now - started) // period
    return (started + passed * period, 0) if passed else (started, used)
