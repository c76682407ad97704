"""What a store can do. Every call may fail with StoreError, and may take as long as it likes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from embedsvc.store.records import (
    FailureRow,
    Grant,
    KeptRoute,
    KeyRecord,
    RequestRow,
    RouteRecord,
    UsageRow,
    Want,
)

MOST_FAILURES = 1000
"""Failed authentications of one answer."""


class StoreError(Exception):
    """A store did not do what it was asked."""


class StoreAwayError(StoreError):
    """It cannot be reached, or is too busy: the same call may succeed later."""


class StoreRefusedError(StoreError):
    """It was reached, and refuses: the same call will not succeed."""


class KeyStore(Protocol):
    """API keys."""

    async def find_keys(self, digests: Sequence[str]) -> Mapping[str, KeyRecord]:
        """Return those keys that there are, by digest."""

    async def list_keys(self) -> Sequence[KeyRecord]:
        """Return every key, the oldest first."""

    async def create_key(self, key: KeyRecord) -> None:
        """Keep a new key. Raises StoreRefusedError where there is one with its digest."""

    async def rotate_key(self, digest: str, successor: KeyRecord, expires_at: float) -> None:
        """Keep a successor, and let the old key expire no later than given, in one step.

        Raises StoreRefusedError where the old one is not there, is revoked or has a successor.
        """

    async def revoke_key(self, digest: str, at: float) -> None:
        """Let a key work no more. Raises StoreRefusedError where it is not there."""

    async def touch_keys(self, used: Mapping[str, float]) -> None:
        """Note when keys were last used, by digest; unknown ones are passed over."""


class LimitStore(Protocol):
    """Limits that servers share."""

    async def lease(self, wants: Sequence[Want]) -> Sequence[Grant]:
        """Take blocks out of windows, for each want in order as much as there is."""


class LedgerStore(Protocol):
    """The log of requests and of failed authentications."""

    async def log_requests(self, batch_id: str, rows: Sequence[RequestRow]) -> None:
        """Keep rows, all or none; a batch id that was kept before changes nothing."""

    async def log_failures(self, batch_id: str, rows: Sequence[FailureRow]) -> None:
        """Keep rows, all or none; a batch id that was kept before changes nothing."""

    async def usage(self, first_day: str, last_day: str) -> Sequence[UsageRow]:
        """Return what was used in a span of days, both counted in."""

    async def failures(self, since: float) -> Sequence[FailureRow]:
        """Return failed authentications, the latest first, `MOST_FAILURES` at most."""

    async def purge(self, before: float, usage_before_day: str, limit: int) -> int:
        """Forget requests and failures of before a time, and usage of before a day.

        Returns:
            How many rows are gone; once it is none, there are no more. `limit` is how many of each kind go
            at once, at most.
        """


class RouteStore(Protocol):
    """What was said of aliases while the service runs."""

    async def list_routes(self) -> Sequence[KeptRoute]:
        """Return every route, by alias; one that cannot be read hides no other."""

    async def set_route(self, route: RouteRecord) -> None:
        """Keep a route in place of the one with its alias, if there is one."""

    async def remove_route(self, alias: str) -> None:
        """Forget a route. Raises StoreRefusedError where there is none."""


class Store(KeyStore, LimitStore, LedgerStore, RouteStore, Protocol):
    """All of it, in one place."""

    @property
    def name(self) -> str:
        """What and where it is, for people."""
