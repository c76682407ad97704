"""What a key looks like, and what is kept of it."""

import hashlib
import re
import secrets

PREFIX = "emb_"
"""What every key starts with, so that scanners for secrets can match it: `emb_[A-Za-z0-9_-]{43}`."""

KEY = re.compile("emb_[A-Za-z0-9_-]{43}")

SHOWN = len(PREFIX) + 8
"""Characters of a key that people may see: 48 of its 256 bits."""


def generate() -> str:
    """Make a key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """What is kept of a key: its SHA-256 in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def prefix(key: str) -> str:
    """The part of a key that tells it from others."""
    return key[:SHOWN]


def is_key(text: str) -> bool:
    """Whether a text has the form of a key."""
    return KEY.fullmatch(text) is not None
