"""Records as Convex has them: names in camel case, times in milliseconds, and what is None is not there."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel, to_snake

from embedsvc.store.protocols import StoreAwayError
from embedsvc.store.records import (
    FailureRow,
    Grant,
    KeptRoute,
    KeyRecord,
    Limits,
    RequestRow,
    RouteRecord,
    UsageRow,
    Want,
)
from embedsvc.store.unread import unread

Json = Any
Document = Mapping[str, Json]
Record = KeyRecord | RequestRow | FailureRow | RouteRecord | Want
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
    RouteRecord: {},
}
"""Fields that are called something else there."""

TIMES = frozenset(
    {
        "at",
        "changed_at",
        "created_at",
        "expires_at",
        "first_at",
        "last_at",
        "period",
        "resets_in",
        "revoked_at",
        "used_at",
    }
)
"""Fields in seconds here, and in milliseconds there."""


ADAPTERS: Mapping[type, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (KeyRecord, FailureRow, UsageRow, RouteRecord, Grant)
}


@asynccontextmanager
async def understood() -> AsyncIterator[None]:
    """Raise StoreAwayError where an answer that is read within has another form than it must have."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreAwayError(f"Convex answers as no function of this release does: {error!r:.200}") from error


def milliseconds(seconds: float) -> float:
    """A time or a length of time, as Convex has it."""
    return seconds * 1000


def encode(record: Record | Limits) -> dict[str, Json]:
    """Write a record."""
    found = ((field, getattr(record, field.name)) for field in FIELDS[type(record)])
    return {field.there: _value(field, value) for field, value in found if value is not None}


def decode(kind: type[T], document: Document) -> T:
    """Read a record. Numbers come as floats, whole ones too."""
    names = {there: here for here, there in NAMES[kind].items()}
    values = {names.get(name) or to_snake(name): value for name, value in document.items()}
    for name in TIMES & values.keys():
        values[name] /= 1000
    if kind is KeyRecord:
        values["limits"] = {to_snake(name): value for name, value in values["limits"].items()}
    record: T = ADAPTERS[kind].validate_python(values)
    return record


def decode_route(document: Document) -> KeptRoute:
    """Read a route, or say why it cannot be; what has no alias is none."""
    try:
        return decode(RouteRecord, document)
    except (TypeError, ValueError) as error:
        return unread(document["alias"], error)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field, what it is called there, and whether it is a time."""

    name: str
    there: str
    is_time: bool


def _fields_of(kind: type[Record | Limits]) -> Sequence[_Field]:
    names = NAMES.get(kind, {})
    return [
        _Field(field.name, names.get(field.name) or to_camel(field.name), field.name in TIMES)
        for field in fields(kind)
    ]


FIELDS: Mapping[type, Sequence[_Field]] = {
    kind: _fields_of(kind) for kind in (KeyRecord, Limits, RequestRow, FailureRow, RouteRecord, Want)
}


def _value(field: _Field, value: Json) -> Json:
    if field.is_time:
        return milliseconds(value)
    return encode(value) if isinstance(value, Limits) else value
