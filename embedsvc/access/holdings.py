"""What is a caller's: made from its key, its identity and the configuration."""

from collections.abc import Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from embedsvc.access.principal import Principal
from embedsvc.config import IdentitySettings, Settings
from embedsvc.limits.bucket import SHARED, Bucket, Limit
from embedsvc.limits.limiter import Limiter
from embedsvc.periods import MINUTE
from embedsvc.store.records import KeyRecord, Limits

MOST = 100_000
"""Principals that are remembered."""


@dataclass(frozen=True, slots=True)
class _Limited:
    requests: Sequence[Limit]
    tokens: Sequence[Limit]


class Holdings:
    """Makes principals. The same key and identity get the same one, until the key's record changes."""

    def __init__(self, settings: Settings, limiter: Limiter) -> None:
        self._settings = settings
        self._limiter = limiter
        self._made: LRUCache[tuple[str, str], tuple[KeyRecord | None, Principal]] = LRUCache(MOST)

    def of(self, key: KeyRecord | None, identity: IdentitySettings) -> Principal:
        """The principal of a call."""
        at = (key.digest if key else "", identity.name)
        record, principal = self._made.get(at, (None, None))
        if principal is None or record is not key:
            principal = self._make(key, identity)
            self._made[at] = key, principal
        return principal

    def _make(self, key: KeyRecord | None, identity: IdentitySettings) -> Principal:
        limited = self._limits(key, identity)
        return Principal(
            name=key.name if key else identity.name,
            key=key.digest if key else "",
            identity=identity,
            calls=frozenset(identity.calls).intersection(key.calls if key and key.calls else identity.calls),
            models=_both(key.models if key else (), identity.models),
            injection=(key.injection if key else None) or self._settings.injection.policy,
            caches=identity.cache and (key is None or key.cache),
            requests=self._buckets(limited.requests),
            tokens=self._buckets(limited.tokens),
        )

    def _limits(self, key: KeyRecord | None, identity: IdentitySettings) -> _Limited:
        own = _limits_of(f"identity:{identity.name}", identity.limits)
        if key is not None:
            limits = key.limits if _has_any(key.limits) else self._settings.rates.limits
            keys = _limits_of(f"key:{key.digest[:32]}", limits)
            own = _Limited([*keys.requests, *own.requests], [*keys.tokens, *own.tokens])
        if shared := self._settings.rates.shared(self._settings.store):
            own = _Limited([*own.requests, Limit(SHARED, shared, MINUTE)], own.tokens)
        return own

    def _buckets(self, limits: Sequence[Limit]) -> Sequence[Bucket]:
        return tuple(self._limiter.bucket(limit) for limit in limits)


def _has_any(limits: Limits) -> bool:
    """Whether anything is limited; the length of a quota's window alone is no limit."""
    return limits != Limits(quota_seconds=limits.quota_seconds)


def _limits_of(whose: str, limits: Limits) -> _Limited:
    quota = float(limits.quota_seconds)
    return _Limited(
        _limited(
            (f"{whose}:requests", limits.requests_per_minute, MINUTE),
            (f"{whose}:requests:quota", limits.quota_requests, quota),
        ),
        _limited(
            (f"{whose}:tokens", limits.tokens_per_minute, MINUTE),
            (f"{whose}:tokens:quota", limits.quota_tokens, quota),
        ),
    )


def _limited(*limits: tuple[str, int | None, float]) -> Sequence[Limit]:
    """Those limits that there are."""
    return [Limit(name, units, period) for name, units, period in limits if units is not None]


def _both(one: Sequence[str], other: Sequence[str]) -> frozenset[str] | None:
    """The models of two lists, of which an empty one allows all."""
    if one and other:
        return frozenset(one) & frozenset(other)
    return frozenset(one or other) or None
