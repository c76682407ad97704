"""Who calls, once that is known: an API key, a certificate's identity, or both; and all that is theirs."""

from collections.abc import Sequence
from dataclasses import dataclass

from embedsvc.access.peer import Peer
from embedsvc.config import IdentitySettings
from embedsvc.limits.bucket import Bucket
from embedsvc.store.records import InjectionPolicy


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. Where a key and an identity come together, both must allow what is done, and both pay.

    Attributes:
        name: What fairness is kept between, and what logs say: the key's name, else the identity's.
        key: The digest of the key; empty where a certificate alone calls.
        identity: Whose certificate it has.
        calls: What it may call, of "embed", "stream" and "models".
        models: Models that it may use; None: all.
        injection: What is done with its texts that look like prompt injection.
        caches: Whether its texts are looked up in the cache, and kept there.
        requests: Limits that a request is taken off.
        tokens: Limits that tokens are taken off.
    """

    name: str
    key: str
    identity: IdentitySettings
    calls: frozenset[str]
    models: frozenset[str] | None
    injection: InjectionPolicy
    caches: bool
    requests: Sequence[Bucket]
    tokens: Sequence[Bucket]


@dataclass(frozen=True, slots=True)
class Guest:
    """A caller that was let in, and what it showed: that may count no more while a stream is open.

    Attributes:
        principal: Who it is.
        peer: Its certificate.
    """

    principal: Principal
    peer: Peer
