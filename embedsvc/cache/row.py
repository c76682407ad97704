"""What the cache keeps of a text, and what it is found by."""

from base64 import urlsafe_b64encode
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHORT_BYTES = 12
"""Of a digest, in a short key: 96 bits, 16 characters of base64."""


class Key(bytes):
    """What a vector is found by: the SHA-256 of all that decides it, 32 bytes.

    Bytes, and nothing around them: a request looks each of its keys up a dozen times.
    """

    __slots__ = ()

    @property
    def short(self) -> str:
        """16 characters, base64url of the first 96 bits: what the second level calls it.

        Rows repeat all of the digest, so that those whose short keys are the same by chance are told apart.
        """
        return urlsafe_b64encode(self[:SHORT_BYTES]).decode("ascii")


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
