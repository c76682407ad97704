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
from embedsvc.store.presence import Presence
from embedsvc.store.protocols import LimitStore, StoreError
from embedsvc.store.records import Grant

FIRST_SECONDS = 0.05
"""How long the very first use of a key and of its limits waits for the store."""

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
        self._wanted = asyncio.Event()
        self._answered = asyncio.Condition()
        self._presence = Presence(
            "limits are not shared; each server holds them by itself", "limits are shared again"
        )

    def bucket(self, limit: Limit) -> Bucket:
        """The bucket of a limit; the same one for as long as the limit is the same."""
        found = self._buckets.get(limit.name)
        if found is None or found.limit != limit:
            found = self._buckets[limit.name] = Bucket(limit)
        return found

    async def prepare(self, buckets: Sequence[Bucket], since: float) -> None:
        """Wait a moment for the store to answer for limits that are used for the first time.

        Args:
            buckets: The limits.
            since: When the call came that uses them, in seconds of time.monotonic; its key may have waited.
        """
        for bucket in buckets:
            self._refill(bucket)
        if self._presence.away:
            for bucket in buckets:
                bucket.failed(time.monotonic())
            return
        try:
            async with asyncio.timeout(since + FIRST_SECONDS - time.monotonic()), self._answered:
                await self._answered.wait_for(lambda: all(bucket.known for bucket in buckets))
        except TimeoutError:
            self._metrics.late.inc()
            for bucket in buckets:
                bucket.known = True  # so that the next use does not wait again

    def take(self, buckets: Sequence[Bucket], units: int) -> Bucket | None:
        """Spend units of several limits, of all or of none.

        Returns:
            The limit that has too little left; None where the units are spent.
        """
        now = time.monotonic()
        for bucket in buckets:
            if not bucket.may_take(units, now):
                self._refill(bucket)
                return bucket
        for bucket in buckets:
            if bucket.take(units, now):
                self._metrics.opened.inc(units)
            self._refill(bucket)
        return None

    def _refill(self, bucket: Bucket) -> None:
        if bucket not in self._wanting and bucket.want(time.monotonic()):
            self._wanting[bucket] = None
            self._wanted.set()

    async def run(self) -> None:
        """Ask the store for what is wanted, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._lease()
            if self._presence.away:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _lease(self) -> None:
        now = time.monotonic()
        some = list(islice(self._wanting, AT_ONCE))
        wants = {bucket: want for bucket in some if (want := bucket.want(now))}
        for bucket in some:
            del self._wanting[bucket]
        if self._wanting:
            self._wanted.set()
        for bucket in wants:
            bucket.asked(now)
        asking = asyncio.ensure_future(self._store.lease(list(wants.values())))
        try:
            await asyncio.wait([asking], timeout=LEASE_SECONDS)
            if not asking.done():
                await self._fail(wants, TimeoutError("no answer in time"))
            # A late answer counts, too: its units are gone in the store.
            await self._grant(wants, await asking)
        except StoreError as error:
            await self._fail(wants, error)
        finally:
            asking.cancel()

    async def _grant(self, wanting: Iterable[Bucket], grants: Iterable[Grant]) -> None:
        now = time.monotonic()
        for bucket, grant in zip(wanting, grants, strict=True):
            bucket.granted(grant, now)
        self._presence.answered()
        await self._tell()

    async def _fail(self, wanting: Iterable[Bucket], error: Exception) -> None:
        for bucket in wanting:
            bucket.failed(time.monotonic())
        self._metrics.failures.inc()
        self._presence.failed(error)
        await self._tell()

    async def _tell(self) -> None:
        """Wake those that wait for an answer."""
        async with self._answered:
            self._answered.notify_all()


@asynccontextmanager
async def open_limiter(store: LimitStore, metrics: LimitMetrics) -> AsyncIterator[Limiter]:
    """Fill buckets while the context is open."""
    limiter = Limiter(store, metrics)
    async with running(limiter.run()):
        yield limiter
