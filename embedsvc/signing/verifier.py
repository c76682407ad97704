"""Verifies signed requests: by whom, within five minutes, and once only. It knows nothing of gRPC."""

import hmac
import math
import secrets as random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from embedsvc.errors import InvalidSignatureError
from embedsvc.signing.canonical import (
    AUTHORIZATION,
    HEADERS,
    LEAST_SECRET_BYTES,
    NONCE,
    SIGNATURE,
    SIGNER,
    TIME,
    Claim,
    canonical,
    check_form,
    signature,
)
from embedsvc.signing.nonces import Nonces, use_of
from embedsvc.signing.shared import SharedNonces

WINDOW_SECONDS = 300.0
"""How far a signature's time may be from the server's, to either side."""

CAPACITY = 300_000
"""Nonces of one signer: a thousand calls a second over one window. About 55 MB when it is full."""

NAMES = frozenset(HEADERS)

Metadata = Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True)
class Signed:
    """A request that says that it is signed.

    Attributes:
        claim: What the signature is said to cover; a field that was not sent is empty.
        signature: The value of `x-embedsvc-signature`.
    """

    claim: Claim
    signature: str

    @classmethod
    def of(cls, method: str, digest: str, metadata: Metadata) -> Self:
        """Read a request.

        Args:
            method: The full name of the RPC that was called.
            digest: What `canonical.digest` makes of the message as it came; `OPENING` for a stream.
            metadata: What came with the call. The API key that is checked must be the one in here.
        """
        read = {name: _text(metadata.get(name)) for name in (AUTHORIZATION, *HEADERS)}
        claim = Claim(method, digest, read[AUTHORIZATION], read[TIME], read[NONCE], read[SIGNER])
        return cls(claim, read[SIGNATURE])


def is_signed(metadata: Metadata) -> bool:
    """Whether a call has any of a signature: then it must have all of it, and be verified."""
    return not NAMES.isdisjoint(metadata)


class Verifier:
    """Verifies signatures. For one thread.

    Args:
        secrets: For each signer, by name, what returns its secrets; any of them verifies.
        clock: Seconds since the epoch.
        window: How many seconds a signature's time may be from the clock's.
        capacity: How many nonces of one signer are remembered.
        folder: Where nonces are shared with this machine's other processes, and outlive this one: see
            SharedNonces. None: they are this process's own.
    """

    def __init__(
        self,
        secrets: Mapping[str, Callable[[], Sequence[bytes]]],
        clock: Callable[[], float] = time.time,
        window: float = WINDOW_SECONDS,
        capacity: int = CAPACITY,
        folder: Path | None = None,
    ) -> None:
        self._secrets = secrets
        self._clock = clock
        self._window = window
        nonces = Nonces(capacity)
        self._nonces = SharedNonces(nonces, folder) if folder else nonces
        self._nobody = random.token_bytes(LEAST_SECRET_BYTES)

    def verify(self, signed: Signed) -> str:
        """Return the name of the signer, and never accept the same signature again.

        Raises:
            InvalidSignatureError: A field is missing or malformed, the time is too far off, the signature is
                not one of a known signer over this request, or it was used before.
            OverloadedError: So many signatures of this signer are remembered that no more can be.
            ValueError: A secret of the server's own is too short.
        """
        _refuse_missing(signed)
        text = _canonical(signed)
        now = self._clock()
        self._refuse_other_times(int(signed.claim.time), now)
        if not self._is_authentic(text, signed):
            raise InvalidSignatureError(
                f"{SIGNATURE} is not a signature of this request by a signer that this server knows"
            )
        # Only now: else anybody could fill the memory, or use up nonces that are another's.
        claim = signed.claim
        self._nonces.take(use_of(claim.signer, claim.nonce, int(claim.time)), self._oldest(now))
        return claim.signer

    def upkeep(self) -> None:
        """Learn and forget nonces, so that calls have less to do.

        To be called before serving, and about once a second from then on.

        Raises:
            OSError: The folder cannot be used.
        """
        self._nonces.upkeep(self._oldest(self._clock()))

    def _oldest(self, now: float) -> int:
        return math.ceil(now - self._window)

    def _refuse_other_times(self, signed_at: int, now: float) -> None:
        if abs(now - signed_at) > self._window:
            raise InvalidSignatureError(
                f"{TIME} is {signed_at}, which is more than {self._window:g} seconds from the server's "
                f"time, {int(now)}"
            )

    def _is_authentic(self, text: bytes, signed: Signed) -> bool:
        find = self._secrets.get(signed.claim.signer)
        # An unknown signer costs what a known one does: time does not tell who is known.
        known = (find and find()) or (self._nobody,)
        return any(hmac.compare_digest(signature(text, secret), signed.signature) for secret in known)


def _refuse_missing(signed: Signed) -> None:
    claim = signed.claim
    values = (claim.signer, claim.time, claim.nonce, signed.signature)
    missing = [name for name, value in zip(HEADERS, values, strict=True) if not value]
    if missing:
        raise InvalidSignatureError(f"this call must be signed, and has no {', '.join(missing)}")


def _canonical(signed: Signed) -> bytes:
    try:
        check_form(SIGNATURE, signed.signature)
        return canonical(signed.claim)
    except ValueError as error:
        raise InvalidSignatureError(str(error)) from None


def _text(value: str | bytes | None) -> str:
    return value if isinstance(value, str) else ""
