"""One line of the file that two models are compared by."""

from dataclasses import dataclass

import orjson

from embedsvc.errors import ConfigurationError

FORM = '{"query": TEXT} or {"document": TEXT}'
MAY_HAVE = {"query": {"query", "relevant"}, "document": {"document", "id"}}


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for.

    Attributes:
        text: The text.
        relevant: Ids of the documents that answer it; empty where that is not known.
    """

    text: str
    relevant: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """What may be found.

    Attributes:
        text: The text.
        id: What queries call it; None: none does.
    """

    text: str
    id: str | None = None


def read_line(line: str, place: str) -> Query | Document:
    """Read a JSON object.

    Args:
        line: The line.
        place: Where it is, for messages.

    Raises:
        ConfigurationError: It is something else.
    """
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{place}: must be {FORM}: {error}") from None
    kinds = [kind for kind in MAY_HAVE if isinstance(found, dict) and kind in found]
    if len(kinds) != 1:
        raise ConfigurationError(f"{place}: must be {FORM}")
    (kind,) = kinds
    if unknown := sorted(set(found) - MAY_HAVE[kind]):
        raise ConfigurationError(f"{place}: a {kind} has no {unknown[0]!r}")
    text = _text(found[kind], f"{place}: {kind}")
    if kind == "document":
        return Document(text, _id(found["id"], f"{place}: id") if "id" in found else None)
    return Query(text, _ids(found.get("relevant", []), f"{place}: relevant"))


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{what} must be a text that is not empty")
    return value


def _ids(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigurationError(f"{what} must be a list of ids")
    return tuple(_id(name, what) for name in value)


def _id(value: object, what: str) -> str:
    """An id; a number means the same as its digits."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigurationError(f"{what}: an id is a string or a whole number")
    return str(value)
