"""Who signs: a name, its secrets, a clock and fresh nonces. It knows nothing of gRPC."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from embedsvc.signing.canonical import Claim, digest, sign

NONCE_BYTES = 16
"""128 random bits: 22 characters."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs calls.

    Attributes:
        name: What the server knows this service as.
        secrets: Returns what is shared with the server, and is asked for each call; the first one signs.
        clock: Seconds since the epoch.
    """

    name: str
    secrets: Callable[[], Sequence[bytes]] = field(repr=False)
    clock: Callable[[], float] = time.time

    def sign(self, method: str, message: bytes = b"", authorization: str = "") -> list[tuple[str, str]]:
        """Return the metadata that signs one call; every call needs its own.

        Args:
            method: The full name of the RPC.
            message: The request as it goes over the wire, before it is compressed; empty for a stream.
            authorization: The value of the metadata `authorization`, if the call has it.

        Raises:
            ValueError: A field cannot be signed, the secret is too short, or there is none.
        """
        known = self.secrets()
        if not known:
            raise ValueError(f"there is no secret to sign with as {self.name!r}")
        claim = Claim(
            method=method,
            digest=digest(message),
            authorization=authorization,
            time=str(int(self.clock())),
            nonce=secrets.token_urlsafe(NONCE_BYTES),
            signer=self.name,
        )
        return sign(claim, known[0])
