"""What is done with keys: pure decisions and the store's calls. `keys_command.py` talks to the operator."""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from embedsvc.errors import ConfigurationError
from embedsvc.keys import token
from embedsvc.secret.reference import API_KEY
from embedsvc.store.protocols import KeyStore, StoreAwayError
from embedsvc.store.records import KeyRecord

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,63}")
STARTED = 16
"""Characters of a digest that tell a key from all others."""


class SelectionError(ConfigurationError):
    """An operator names no key, or several."""


@dataclass(frozen=True, slots=True)
class Made:
    """A key that was made; this is the only moment at which it can be shown."""

    key: str = field(repr=False)
    record: KeyRecord


def check_name(what: str, text: str) -> str:
    """Return a name that logs, tables and spreadsheets can show.

    Raises:
        ConfigurationError: It has other characters, or too many, or a key in it.
    """
    if text.startswith(token.PREFIX) or API_KEY.search(text):
        raise ConfigurationError(f"{what} must not begin with {token.PREFIX}, as keys do: names are shown")
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


def handle(key: KeyRecord) -> str:
    """What tells a key from others: its prefix, or the start of its digest where only that is known."""
    return key.prefix if len(key.prefix) == token.SHOWN else key.digest[:STARTED]


def make(draft: KeyRecord) -> Made:
    """Make a key that is as a draft says."""
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


def succeed(old: KeyRecord) -> Made:
    """Make the successor of a key: it may do the same, for as long as the old one could from its start."""
    life = None if old.expires_at is None else old.expires_at - old.created_at
    return make(replace(old, expires_at=None if life is None else time.time() + life))


async def create(store: KeyStore, made: Made) -> None:
    """Keep a key. Raises StoreError."""
    try:
        await store.create_key(made.record)
    except StoreAwayError:
        if not await _is_kept(store, made):
            raise


async def rotate(store: KeyStore, old: KeyRecord, made: Made, overlap: float) -> None:
    """Keep a successor, and let the old key live on for a while.

    Args:
        store: Where.
        old: The key.
        made: Its successor.
        overlap: Seconds that the old key goes on working, at most.

    Raises:
        StoreError: It is not kept.
    """
    try:
        await store.rotate_key(old.digest, made.record, time.time() + overlap)
    except StoreAwayError:
        if not await _is_kept(store, made):
            raise


async def _is_kept(store: KeyStore, made: Made) -> bool:
    """Whether only the store's answer was lost: a key that is kept must not be."""
    return made.record.digest in await store.find_keys([made.record.digest])


def due(keys: Iterable[KeyRecord], age: float) -> list[KeyRecord]:
    """Those keys that are in use and as old as so many seconds."""
    now = time.time()
    return [key for key in keys if state_of(key, now) == "active" and key.created_at <= now - age]


def refuse_second(keys: Iterable[KeyRecord], name: str) -> None:
    """Raise ConfigurationError where an active key has a name: logs and turns could not tell them apart."""
    now = time.time()
    for key in keys:
        if key.name == name and state_of(key, now) == "active":
            raise ConfigurationError(
                f"there is an active key called {name!r} ({handle(key)}): rotate it, or choose another name"
            )


def select(keys: Sequence[KeyRecord], named: str) -> KeyRecord:
    """Find the one key that an operator means, by its name, its prefix, its digest or the key itself.

    Of several keys of one name the one that is active counts.

    Raises:
        SelectionError: There is none, or there are several.
    """
    found = _named(keys, named)
    now = time.time()
    active = [key for key in found if state_of(key, now) == "active"]
    chosen = found if len(found) == 1 else active
    if len(chosen) == 1:
        return chosen[0]
    if not found:
        raise SelectionError(f"no key has the name, prefix or digest {_shown(named)}")
    handles = ", ".join(map(handle, found))
    raise SelectionError(f"several keys are called {_shown(named)}; name one by its prefix: {handles}")


def working(keys: Sequence[KeyRecord], named: str) -> list[KeyRecord]:
    """Find all keys that an operator means and that still work: a name's successors and their predecessors.

    Raises:
        SelectionError: There is none.
    """
    now = time.time()
    alive = [key for key in _named(keys, named) if state_of(key, now) in ("active", "rotated")]
    if not alive:
        raise SelectionError(f"no key that works has the name, prefix or digest {_shown(named)}")
    return alive


def _named(keys: Sequence[KeyRecord], named: str) -> list[KeyRecord]:
    digest = token.digest(named) if token.is_key(named) else named
    return [key for key in keys if named in (key.name, handle(key)) or digest == key.digest]


def _shown(named: str) -> str:
    """What an operator wrote, for an error: of what looks like a key, no more than may be shown."""
    return repr(
        f"{token.prefix(named)}…" if len(named) > token.SHOWN and named.startswith(token.PREFIX) else named
    )
