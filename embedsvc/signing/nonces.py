"""Which nonces were used: bounded, and never forgotten while their signature could be used again."""

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from embedsvc.errors import InvalidSignatureError, OverloadedError
from embedsvc.signing.canonical import NONCE

FORGET_AT_ADDING = 2
"""How many old nonces go when a new one comes: more than one, so that memory shrinks; few, so that a call
after a long silence takes no longer than others."""

FORGET_AT_UPKEEP = 1000
"""How many old nonces of a signer go at each upkeep: less than a millisecond."""


class Use(NamedTuple):
    """A nonce that a signer used.

    Attributes:
        time: When its signature was made, in seconds since the epoch, by the signer's clock.
        signer: 8 bytes that stand for the signer.
        nonce: 16 bytes that stand for the nonce.
    """

    time: int
    signer: bytes
    nonce: bytes


def use_of(signer: str, nonce: str, time: int) -> Use:
    """Cut names to a fixed size. Only the signer itself could ever make two nonces look alike."""
    return Use(time, sha256(signer.encode()).digest()[:8], sha256(nonce.encode()).digest()[:16])


@dataclass(slots=True)
class _Known:
    """One signer's nonces.

    Attributes:
        nonces: All of them.
        oldest_first: The same, as a heap by the time of their signatures.
        forgotten: The latest time of a signature whose nonce was forgotten.
    """

    nonces: set[bytes] = field(default_factory=set)
    oldest_first: list[tuple[int, bytes]] = field(default_factory=list)
    forgotten: int = -1


class Nonces:
    """The nonces of each signer, in this process. For one thread.

    Args:
        capacity: How many a signer may have in memory. When it is full of nonces that could be used again,
            calls are refused: to forget one would let its signature pass a second time.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._signers: defaultdict[bytes, _Known] = defaultdict(_Known)

    def take(self, use: Use, oldest: int) -> None:
        """Use a nonce up.

        Args:
            use: What is used.
            oldest: The earliest time of a signature that is still accepted. Earlier ones may be forgotten.

        Raises:
            InvalidSignatureError: It was used before.
            OverloadedError: Memory is full.
        """
        self.check(use, oldest)
        self.add(use, oldest)

    def check(self, use: Use, oldest: int) -> None:
        """Raise what `take` would raise."""
        known = self._signers[use.signer]
        _forget(known, oldest, FORGET_AT_ADDING)
        if _is_used(known, use):
            raise replayed()
        if len(known.nonces) >= self._capacity:
            raise OverloadedError(
                f"this signer has {self._capacity} signatures that are too new to be forgotten: "
                "no more of them are accepted for now"
            )

    def add(self, use: Use, oldest: int) -> bool:
        """Note a nonce, however full memory is; return whether it was new."""
        known = self._signers[use.signer]
        _forget(known, oldest, FORGET_AT_ADDING)
        if _is_used(known, use):
            return False
        known.nonces.add(use.nonce)
        heapq.heappush(known.oldest_first, (use.time, use.nonce))
        return True

    def upkeep(self, oldest: int) -> None:
        """Forget what is of no use any more, also of signers that are silent. To be called once a second.

        Args:
            oldest: See `take`.
        """
        for known in self._signers.values():
            _forget(known, oldest, FORGET_AT_UPKEEP)


def replayed() -> InvalidSignatureError:
    """Make the error of a signature that comes a second time."""
    return InvalidSignatureError(f"{NONCE} was used before: every call needs a signature of its own")


def _is_used(known: _Known, use: Use) -> bool:
    # A clock that is set back makes times acceptable again whose nonces are forgotten.
    return use.nonce in known.nonces or use.time <= known.forgotten


def _forget(known: _Known, oldest: int, at_most: int) -> None:
    for _ in range(at_most):
        if not known.oldest_first or known.oldest_first[0][0] >= oldest:
            return
        known.forgotten, nonce = heapq.heappop(known.oldest_first)
        known.nonces.remove(nonce)
