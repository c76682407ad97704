"""API keys: a file of SHA-256 digests and names, reread when it changes."""

import hashlib
import math
import re
import secrets
import time
from pathlib import Path

import structlog

from embedsvc.errors import ConfigurationError

log = structlog.get_logger()

PREFIX = "emb_"
"""What every key starts with, so that scanners for secrets can match it."""

DIGEST = re.compile("[0-9a-fA-F]{64}")
"""What a file has of a key."""

LOOK_SECONDS = 1.0
"""How long a known key holds before the file is looked at again. That is a system call, in which the event
loop gives up the interpreter."""


def generate() -> str:
    """Make a key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """What is kept of a key: its SHA-256 in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


class KeyFile:
    """The keys of one file. A change that cannot be read keeps the keys of before, and is logged.

    Keys are found by their digest: how long that takes says nothing of a key, since nobody can
    choose a digest.

    Args:
        path: The file.
        seconds: How long known keys hold at most. The file is looked at for every unknown one.
    """

    def __init__(self, path: Path, seconds: float = LOOK_SECONDS) -> None:
        self._path = path
        self._seconds = seconds
        self._looked = -math.inf
        self._stamp: tuple[int, int] | None = None
        self._names: dict[str, str] = {}

    def load(self) -> None:
        """Read the file.

        Raises:
            ConfigurationError: It is not there, or has a line of another form.
        """
        try:
            stamp = self._read_stamp()
            self._names = dict(_parse(*line) for line in self._lines())
            self._stamp = stamp
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"auth.keys_file {self._path}: {error}") from None

    def find(self, key: str) -> str | None:
        """Return the name of a key; None where it is unknown."""
        found = digest(key)
        now = time.monotonic()
        if found not in self._names or now - self._looked >= self._seconds:
            self._looked = now
            self._refresh()
        return self._names.get(found)

    def _refresh(self) -> None:
        try:
            stamp = self._read_stamp()
            if stamp != self._stamp:
                self._stamp = stamp  # a file that cannot be read is told of once
                self.load()
        except (OSError, ConfigurationError) as error:
            log.warning("keys file not read again; the keys of before hold", error=str(error))

    def _read_stamp(self) -> tuple[int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_ino

    def _lines(self) -> list[tuple[int, str]]:
        lines = enumerate(map(str.strip, self._path.read_text().splitlines()), start=1)
        return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _parse(number: int, line: str) -> tuple[str, str]:
    found, _, name = line.partition(" ")
    if not DIGEST.fullmatch(found) or not name:
        raise ValueError(f"line {number} must be a SHA-256 in hexadecimal, a space and a name")
    return found.lower(), name
