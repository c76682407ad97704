"""What the cache keeps of a text, and what it is found by."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Key:
    """What a vector is found by.

    Attributes:
        short: 16 characters, base64url of the first 96 bits of `digest`.
        digest: SHA-256 of all that decides the vector: 32 bytes, which the row repeats. Rows whose short
            keys are the same by chance are told apart by it.
    """

    short: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of a text.

    Attributes:
        vector: All of its dimensions, float32 of shape [dimensions]; read-only.
        tokens: Tokens that the model read.
        truncated: Whether tokens were dropped.
        expires_at: When it counts no more, in seconds since the epoch.
    """

    vector: NDArray[np.float32]
    tokens: int
    truncated: bool
    expires_at: float
