"""Reads keys that were made elsewhere."""

import time
from dataclasses import replace

from embedsvc.errors import ConfigurationError
from embedsvc.keys import finder, token
from embedsvc.operator.keys import check_name, handle
from embedsvc.store.records import KeyRecord


def read(text: str) -> list[KeyRecord]:
    """Read keys to import: a line for each, a SHA-256 in hexadecimal or the key itself, a space, a name.

    Raises:
        ConfigurationError: A line has another form.
    """
    prefixes: dict[str, str] = {}
    lines = [_digested(line, prefixes) for line in text.splitlines()]
    try:
        found = finder.parse("\n".join(lines).encode())
    except ValueError as error:
        raise ConfigurationError(f"import: {error}") from None
    return [_named(replace(key, prefix=prefixes.get(key.digest, key.prefix))) for key in found.values()]


def _digested(line: str, prefixes: dict[str, str]) -> str:
    """The line with a key's digest in place of the key, of which the prefix is noted."""
    key, *rest = line.split(maxsplit=1) or [""]
    if not token.is_key(key):
        return line
    digest = token.digest(key)
    prefixes[digest] = token.prefix(key)
    return " ".join((digest, *rest))


def _named(key: KeyRecord) -> KeyRecord:
    name = check_name(f"import: the name of {handle(key)}", key.name)
    return replace(key, name=name, created_at=time.time())
