"""Where keys are looked for: those of a secret first, which are all known, then those of the store.

A key that is in both is the secret's.
"""

import re
from collections.abc import Mapping

from embedsvc.keys import token
from embedsvc.keys.ring import KeyRing
from embedsvc.secret.keeper import Secret
from embedsvc.store.records import KeyRecord

LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+(\S.*)")

StaticKeys = Mapping[str, KeyRecord]


def parse(content: bytes) -> StaticKeys:
    """Read keys, a line for each: its SHA-256 in hexadecimal, a space, a name; `#` begins a comment.

    Raises:
        ValueError: A line has another form.
    """
    lines = enumerate(map(str.strip, content.decode().splitlines()), start=1)
    keys = (_parse(number, line) for number, line in lines if line and not line.startswith("#"))
    return {key.digest: key for key in keys}


def _parse(number: int, line: str) -> KeyRecord:
    found = LINE.fullmatch(line)
    if found is None or not found[2].isprintable():
        raise ValueError(
            f"line {number} must be a SHA-256 in hexadecimal, a space and a name that can be shown"
        )
    digest = found[1].lower()
    return KeyRecord(digest=digest, prefix=token.PREFIX, name=found[2])


class KeyFinder:
    """Finds keys by their digest.

    Args:
        static: Those of `auth.keys`; None: there are none.
        ring: Those of the store.
    """

    def __init__(self, static: Secret[StaticKeys] | None, ring: KeyRing) -> None:
        self._static = static
        self._ring = ring

    def current(self, digest: str) -> KeyRecord | None:
        """What is known of a key, without asking anybody."""
        if self._static and (key := self._static.meaning.get(digest)):
            return key
        return self._ring.current(digest)

    async def find(self, digest: str) -> KeyRecord | None:
        """What is known of a key; None where there is no such key. Raises as `KeyRing.find`."""
        return self.current(digest) or await self._ring.find(digest)
