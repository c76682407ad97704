"""Keeps the buckets of all limits filled from the store, in the background."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from cachetools import LRUCache

from embedsvc.background import running
from embedsvc.limits.bucket import Bucket, Limit
from embedsvc.metrics import LimitMetrics
from embedsvc.store.presence import FIRST_SECONDS, Presence
from embedsvc.store.protocols import LimitStore, StoreError
from embedsvc.store.records import Grant

WAIT_SECONDS = 0.05
"""How long a call that would be refused waits for a lease that is on its way."""

LEASE_SECONDS = 1.0
"""How long the store may take for a lease before it counts as away."""

PAUSE_SECONDS = 1.0
"""How long a store that is away is left alone."""

AT_ONCE = 100
"""Limits of one call, which the store answers as a whole."""

MOST_BUCKETS = 100_000


class Limiter:
    """Hands out buckets, and fills them. Open it with `open_limiter`."""

    def __init__(self, store: LimitStore, metrics: LimitMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._buckets: LRUCache[str, Bucket] = LRUCache(MOST_BUCKETS)
        self._wanting: dict[Bucket, None] = {}  # in the order in which they came
        self._some_want = asyncio.Event()
        self._answered = asyncio.Event()  # another one for each answer
        self._presence = Presence(
            "limits are not shared; each server holds them by itself", "limits are shared again"
        )

    def bucket(self, limit: Limit) -> Bucket:
        """The bucket of a limit; the same one for as long as the limit is the same."""
        found = self._buckets.get(limit.name)
        if found is None or found.limit != limit:
            found = self._buckets[limit.name] = Bucket(limit)
        return found

    def expect(self, buckets: Sequence[Bucket]) -> None:
        """Have the store asked for limits that will be needed soon."""
        for bucket in buckets:
            self._refill(bucket)

    async def take(self, buckets: Sequence[Bucket], units: int, since: float) -> Bucket | None:
        """Spend units of several limits, of all or of none.

        Nobody waits for the store, but for the very first use of a limit, and where the answer that is on its
        way may turn a refusal into what was asked for.

        Args:
            buckets: The limits.
            units: How many of each.
            since: When the call came, in seconds of time.monotonic; its key may have waited, too.

        Returns:
            The limit that has too little left; None where the units are spent.
        """
        if fresh := [bucket for bucket in buckets if not bucket.known]:
            await self._prepare(fresh, since + FIRST_SECONDS)
        until = time.monotonic() + WAIT_SECONDS
        while short := self._short(buckets, units):
            if not short.may_come(units, time.monotonic()) or not await self._heard(until):
                return short
        now = time.monotonic()
        for bucket in buckets:
            if bucket.take(units, now):
                self._metrics.opened.inc(units)
            self._refill(bucket)
        return None

    def _short(self, buckets: Sequence[Bucket], units: int) -> Bucket | None:
        """The first limit of which so many units may not be spent."""
        now = time.monotonic()
        for bucket in buckets:
            if not bucket.may_take(units, now):
                self._refill(bucket)
                return bucket
        return None

    async def _prepare(self, buckets: Sequence[Bucket], until: float) -> None:
        """Wait a moment for the store to answer for limits that are used for the first time."""
        for bucket in buckets:
            self._refill(bucket)
        while not all(bucket.known for bucket in buckets):
            if not await self._heard(until):
                self._metrics.late.inc()
                for bucket in buckets:
                    bucket.known = True  # so that the next use does not wait again

    async def _heard(self, until: float) -> bool:
        """Wait until the store has answered, or failed to; False where the time is over before."""
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await self._answered.wait()
        except TimeoutError:
            return False
        return True

    def _refill(self, bucket: Bucket) -> None:
        now = time.monotonic()
        if bucket in self._wanting or not bucket.needs_lease(now):
            return
        if self._presence.away:
            bucket.failed(now)
        else:
            bucket.wanted(now)
        self._wanting[bucket] = None
        self._some_want.set()

    async def run(self) -> None:
        """Ask the store for what is wanted, until cancelled."""
        while True:
            await self._some_want.wait()
            self._some_want.clear()
            await self._lease()
            if self._presence.away:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _lease(self) -> None:
        """Ask for some of what is wanted, once."""
        some = list(islice(self._wanting, AT_ONCE))
        for bucket in some:
            del self._wanting[bucket]
        if self._wanting:
            self._some_want.set()
        now = time.monotonic()
        asking = asyncio.ensure_future(self._store.lease([bucket.want(now) for bucket in some]))
        try:
            await asyncio.wait([asking], timeout=LEASE_SECONDS)
            if not asking.done():
                self._fail(some, TimeoutError("no answer in time"))
            # A late answer counts, too: its units are gone in the store.
            self._grant(some, await asking)
        except Exception as error:
            self._fail(some, error)  # of whatever kind: else they would wait for ever
            if not isinstance(error, StoreError):
                raise
        finally:
            asking.cancel()

    def _grant(self, some: Iterable[Bucket], grants: Iterable[Grant]) -> None:
        now = time.monotonic()
        for bucket, grant in zip(some, grants, strict=True):
            bucket.granted(grant, now)
        self._presence.answered()
        self._tell()

    def _fail(self, some: Iterable[Bucket], error: Exception) -> None:
        """The store is away: for those that it was asked for, and for those that wait."""
        now = time.monotonic()
        for bucket in (*some, *self._wanting):
            bucket.failed(now)
        self._metrics.failures.inc()
        self._presence.failed(error)
        self._tell()

    def _tell(self) -> None:
        """Wake all that wait for an answer."""
        self._answered.set()
        self._answered = asyncio.Event()


@asynccontextmanager
async def open_limiter(store: LimitStore, metrics: LimitMetrics) -> AsyncIterator[Limiter]:
    """Fill buckets while the context is open."""
    limiter = Limiter(store, metrics)
    async with running(limiter.run):
        yield limiter
