"""What is done with keys: pure decisions and the store's calls. `keys_command.py` talks to the operator."""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from embedsvc.errors import ConfigurationError
from embedsvc.keys import finder, token
from embedsvc.store.protocols import KeyStore
from embedsvc.store.records import KeyRecord

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,63}")
DAY = 86_400.0


class SelectionError(ConfigurationError):
    """An operator names no key, or several."""


@dataclass(frozen=True, slots=True)
class Made:
    """A key that was made; this is the only moment at which it can be shown."""

    key: str
    record: KeyRecord


def check_name(what: str, text: str) -> str:
    """Return a name that logs and tables can show.

    Raises:
        ConfigurationError: It has other characters, or too many.
    """
    if not NAME.fullmatch(text):
        raise ConfigurationError(
            f"{what} must be 1 to 64 letters, digits, spaces and . _ @ / -, and begin with a letter or digit"
        )
    return text


def state_of(key: KeyRecord, now: float) -> str:
    """What a key is: "active", "rotated" (and good until it expires), "expired" or "revoked"."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired"
    return "rotated" if key.successor else "active"


async def create(store: KeyStore, draft: KeyRecord) -> Made:
    """Make a key that is as a draft says."""
    made = _make(draft)
    await store.create_key(made.record)
    return made


async def rotate(store: KeyStore, old: KeyRecord, overlap: float) -> Made:
    """Make a successor, and let the old key live on for a while.

    Args:
        store: Where.
        old: The key.
        overlap: Seconds that the old key goes on working, at most.
    """
    life = None if old.expires_at is None else old.expires_at - old.created_at
    now = time.time()
    made = _make(replace(old, expires_at=None if life is None else now + life))
    await store.rotate_key(old.digest, made.record, now + overlap)
    return made


def due(keys: Iterable[KeyRecord], age: float) -> list[KeyRecord]:
    """Those keys that are in use and older than so many seconds."""
    now = time.time()
    return [key for key in keys if state_of(key, now) == "active" and key.created_at <= now - age]


def select(keys: Sequence[KeyRecord], named: str) -> KeyRecord:
    """Find the one key that an operator means, by its name, its prefix or its digest.

    Of several keys of one name the one that is active counts.

    Raises:
        SelectionError: There is none, or there are several.
    """
    found = [key for key in keys if named in (key.name, key.prefix, key.digest)]
    now = time.time()
    active = [key for key in found if state_of(key, now) == "active"]
    chosen = found if len(found) == 1 else active
    if len(chosen) == 1:
        return chosen[0]
    if not found:
        raise SelectionError(f"no key has the name, prefix or digest {named!r}")
    prefixes = ", ".join(key.prefix for key in found)
    raise SelectionError(f"several keys are called {named!r}; name one by its prefix: {prefixes}")


def working(keys: Sequence[KeyRecord], named: str) -> list[KeyRecord]:
    """Find all keys that an operator means and that still work: a name's successors and their predecessors.

    Raises:
        SelectionError: There is none.
    """
    now = time.time()
    found = [key for key in keys if named in (key.name, key.prefix, key.digest)]
    alive = [key for key in found if state_of(key, now) in ("active", "rotated")]
    if not alive:
        raise SelectionError(f"no key that works has the name, prefix or digest {named!r}")
    return alive


def read_import(text: str) -> list[KeyRecord]:
    """Read keys to import: a line for each, a SHA-256 in hexadecimal or the key itself, a space, a name.

    Raises:
        ConfigurationError: A line has another form.
    """
    lines = (_digested(line.strip()) for line in text.splitlines())
    try:
        found = finder.parse("\n".join(lines).encode())
    except ValueError as error:
        raise ConfigurationError(f"import: {error}") from None
    now = time.time()
    return [replace(key, name=check_name("a name", key.name), created_at=now) for key in found.values()]


def _digested(line: str) -> str:
    key, _, name = line.partition(" ")
    return f"{token.digest(key)} {name}" if token.is_key(key) else line


def _make(draft: KeyRecord) -> Made:
    key = token.generate()
    record = replace(
        draft,
        digest=token.digest(key),
        prefix=token.prefix(key),
        created_at=time.time(),
        revoked_at=None,
        used_at=None,
        successor=None,
    )
    return Made(key, record)
