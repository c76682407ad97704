"""Routes in SQLite, each a JSON document under its alias."""

import sqlite3
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from embedsvc.store.protocols import StoreRefusedError
from embedsvc.store.records import KeptRoute, RouteRecord
from embedsvc.store.unread import unread

RECORD = TypeAdapter(RouteRecord)


def list_all(db: sqlite3.Connection) -> Sequence[KeptRoute]:
    """See `RouteStore.list_routes`."""
    rows = db.execute("SELECT alias, record FROM routes ORDER BY alias")
    return [_read(alias, record) for alias, record in rows]


def _read(alias: str, record: str) -> KeptRoute:
    try:
        return RECORD.validate_json(record)
    except ValidationError as error:
        return unread(alias, error)


def keep(db: sqlite3.Connection, route: RouteRecord) -> None:
    """See `RouteStore.set_route`."""
    record = RECORD.dump_json(route).decode()
    db.execute("INSERT OR REPLACE INTO routes VALUES (?, ?)", (route.alias, record))


def remove(db: sqlite3.Connection, alias: str) -> None:
    """See `RouteStore.remove_route`."""
    if not db.execute("DELETE FROM routes WHERE alias = ?", (alias,)).rowcount:
        raise StoreRefusedError("there is no such route")
