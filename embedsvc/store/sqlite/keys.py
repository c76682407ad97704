"""API keys in SQLite, each a JSON document under its digest."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import TypeAdapter

from embedsvc.store.protocols import StoreRefusedError
from embedsvc.store.records import KeyRecord

RECORD = TypeAdapter(KeyRecord)

MANY = 500
"""Digests of one statement; SQLite takes 32,766."""


def find(db: sqlite3.Connection, digests: Sequence[str]) -> Mapping[str, KeyRecord]:
    """See `KeyStore.find_keys`."""
    found: dict[str, KeyRecord] = {}
    for start in range(0, len(digests), MANY):
        some = digests[start : start + MANY]
        marks = ",".join("?" * len(some))
        rows = db.execute(f"SELECT digest, record FROM keys WHERE digest IN ({marks})", some)  # noqa: S608 - marks
        found.update((digest, RECORD.validate_json(record)) for digest, record in rows)
    return found


def list_all(db: sqlite3.Connection) -> Sequence[KeyRecord]:
    """See `KeyStore.list_keys`."""
    rows = db.execute("SELECT record FROM keys ORDER BY created_at, digest")
    return [RECORD.validate_json(record) for (record,) in rows]


def create(db: sqlite3.Connection, key: KeyRecord) -> None:
    """See `KeyStore.create_key`."""
    try:
        db.execute("INSERT INTO keys VALUES (?, ?, ?)", (key.digest, key.created_at, _dump(key)))
    except sqlite3.IntegrityError:
        raise StoreRefusedError("there is a key with this digest") from None


def rotate(db: sqlite3.Connection, digest: str, successor: KeyRecord, expires_at: float) -> None:
    """See `KeyStore.rotate_key`."""
    old = _get(db, digest)
    if old.revoked_at is not None:
        raise StoreRefusedError("the key is revoked")
    if old.successor is not None:
        raise StoreRefusedError("the key has a successor")
    create(db, successor)
    ends = expires_at if old.expires_at is None else min(old.expires_at, expires_at)
    _put(db, replace(old, successor=successor.digest, expires_at=ends))


def revoke(db: sqlite3.Connection, digest: str, at: float) -> None:
    """See `KeyStore.revoke_key`."""
    key = _get(db, digest)
    if key.revoked_at is None:
        _put(db, replace(key, revoked_at=at))


def touch(db: sqlite3.Connection, used: Mapping[str, float]) -> None:
    """See `KeyStore.touch_keys`."""
    for digest, key in find(db, list(used)).items():
        if key.used_at is None or key.used_at < used[digest]:
            _put(db, replace(key, used_at=used[digest]))


def _get(db: sqlite3.Connection, digest: str) -> KeyRecord:
    try:
        return find(db, [digest])[digest]
    except KeyError:
        raise StoreRefusedError("there is no such key") from None


def _put(db: sqlite3.Connection, key: KeyRecord) -> None:
    db.execute("UPDATE keys SET record = ? WHERE digest = ?", (_dump(key), key.digest))


def _dump(key: KeyRecord) -> str:
    return RECORD.dump_json(key).decode()
