"""Records as Convex has them: names in camel case, times in milliseconds, and what is None is not there."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel, to_snake

from embedsvc.store.records import FailureRow, Grant, KeyRecord, RequestRow, UsageRow, Want

Json = Any
Document = Mapping[str, Json]
Record = KeyRecord | RequestRow | FailureRow | Want
T = TypeVar("T")

KEY = {"digest": "keyHash"}
ROW = {"key": "keyHash"}
FAILURE = {"prefix": "keyPrefix"}
PERIOD = {"period": "periodMs", "resets_in": "resetsInMs"}
NAMES: Mapping[type, Mapping[str, str]] = {
    KeyRecord: KEY,
    RequestRow: ROW,
    UsageRow: ROW,
    FailureRow: FAILURE,
    Want: PERIOD,
    Grant: PERIOD,
}
"""Fields that are called something else there."""

TIMES = frozenset(
    {"at", "created_at", "expires_at", "revoked_at", "used_at", "first_at", "last_at", "period", "resets_in"}
)
"""Fields in seconds here, and in milliseconds there."""


ADAPTERS: Mapping[type, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (KeyRecord, FailureRow, UsageRow, Grant)
}


def milliseconds(seconds: float) -> float:
    """A time or a length of time, as Convex has it."""
    return seconds * 1000


def encode(record: Record) -> dict[str, Json]:
    """Write a record."""
    return _encode(asdict(record), NAMES[type(record)])


def decode(kind: type[T], document: Document) -> T:
    """Read a record. Numbers come as floats, whole ones too."""
    names = {there: here for here, there in NAMES[kind].items()}
    fields = {names.get(name) or to_snake(name): value for name, value in document.items()}
    for name in TIMES & fields.keys():
        fields[name] /= 1000
    if kind is KeyRecord:
        fields["limits"] = {to_snake(name): value for name, value in fields["limits"].items()}
    record: T = ADAPTERS[kind].validate_python(fields)
    return record


def _encode(fields: Mapping[str, Json], names: Mapping[str, str]) -> dict[str, Json]:
    return {
        names.get(name) or to_camel(name): _value(name, value)
        for name, value in fields.items()
        if value is not None
    }


def _value(name: str, value: Json) -> Json:
    if name in TIMES:
        return milliseconds(value)
    return _encode(value, {}) if isinstance(value, dict) else value
