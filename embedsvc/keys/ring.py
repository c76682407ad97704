"""The keys that a server knows: looked up once, refreshed in the background, kept while the store is away."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from cachetools import TTLCache

from embedsvc.background import running
from embedsvc.errors import OverloadedError
from embedsvc.metrics import Metrics
from embedsvc.store.presence import FIRST_SECONDS, Presence
from embedsvc.store.protocols import KeyStore, StoreError
from embedsvc.store.records import KeyRecord

log = structlog.get_logger()

REFRESH_SECONDS = 20.0
"""How old may be what is known of a key, while the store answers. A revoked key stops within this and
`STORE_SECONDS`."""

STORE_SECONDS = 10.0
"""How long the store may take for it."""

IDLE_SECONDS = 600.0
"""A key that is not used for so long is forgotten, and looked up again."""

UNKNOWN_SECONDS = 10.0
"""How long a key that is not there is not looked up again."""

MOST_UNKNOWN = 10_000
MOST_LOOKUPS = 8
"""Look-ups under way; who tries more keys at once is told to come back."""


@dataclass(slots=True)
class _Known:
    record: KeyRecord
    used: float


class KeyRing:
    """Finds keys by their digest. Open it with `open_ring`.

    How long a look-up takes says nothing of a key, since nobody can choose a digest.
    """

    def __init__(self, store: KeyStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._known: dict[str, _Known] = {}
        self._unknown: TTLCache[str, None] = TTLCache(MOST_UNKNOWN, UNKNOWN_SECONDS)
        self._lookups: dict[str, asyncio.Task[None]] = {}
        self._touched: dict[str, float] = {}
        self._presence = Presence(
            "keys are not looked at again; what is known of them holds", "keys are looked at again"
        )

    def current(self, digest: str) -> KeyRecord | None:
        """What is known of a key now, without asking anybody; None where nothing is."""
        known = self._known.get(digest)
        if known is None or not hmac.compare_digest(known.record.digest, digest):
            return None
        known.used = time.time()
        return known.record

    async def find(self, digest: str) -> KeyRecord | None:
        """What is known of a key; None where there is no such key.

        Raises:
            OverloadedError: The store did not answer in time; the same key may be known a moment later.
        """
        if (found := self.current(digest)) or digest in self._unknown:
            return found
        await self._wait(digest)
        if digest in self._unknown:
            return None
        if found := self.current(digest):
            return found
        raise OverloadedError("the API key could not be looked up; try again")

    async def _wait(self, digest: str) -> None:
        lookup = self._lookups.get(digest)
        if lookup is None:
            if len(self._lookups) >= MOST_LOOKUPS:
                return
            lookup = self._lookups[digest] = asyncio.create_task(self._look_up(digest))
        await asyncio.wait([lookup], timeout=FIRST_SECONDS)

    async def _look_up(self, digest: str) -> None:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                found = await self._store.find_keys([digest])
            if digest in found:
                self._known[digest] = _Known(found[digest], time.time())
            else:
                self._unknown[digest] = None
        except (StoreError, TimeoutError) as error:
            log.warning("a key could not be looked up", error=repr(error))
            self._metrics.key_failures.inc()
        finally:
            del self._lookups[digest]

    async def refresh(self) -> None:
        """Look again at all keys that are in use, and tell the store of their use."""
        self._forget_idle()
        used = {digest: known.used for digest, known in self._known.items() if self._is_news(digest)}
        try:
            async with asyncio.timeout(STORE_SECONDS):
                asked = list(self._known)
                self._learn(asked, await self._store.find_keys(asked))
            async with asyncio.timeout(STORE_SECONDS):
                if used:
                    await self._store.touch_keys(used)
        except (StoreError, TimeoutError) as error:
            self._metrics.key_failures.inc()
            self._presence.failed(error)
        else:
            self._touched.update(used)
            self._presence.answered()

    def _is_news(self, digest: str) -> bool:
        return self._known[digest].used > self._touched.get(digest, 0.0)

    def _learn(self, asked: Sequence[str], found: Mapping[str, KeyRecord]) -> None:
        for digest in asked:
            if digest in found:
                self._known[digest].record = found[digest]
            else:
                del self._known[digest]

    def _forget_idle(self) -> None:
        if self._presence.away:  # they could not be looked up again
            return
        idle = time.time() - IDLE_SECONDS
        for digest in [digest for digest, known in self._known.items() if known.used < idle]:
            if not self._is_news(digest):
                del self._known[digest]
                self._touched.pop(digest, None)

    async def run(self) -> None:
        """Keep up to date, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh()

    async def close(self) -> None:
        """Tell the store of the last uses, where it listens."""
        for lookup in list(self._lookups.values()):
            lookup.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.refresh()


@asynccontextmanager
async def open_ring(store: KeyStore, metrics: Metrics) -> AsyncIterator[KeyRing]:
    """Keep keys up to date while the context is open."""
    ring = KeyRing(store, metrics)
    try:
        async with running(ring.run):
            yield ring
    finally:
        await ring.close()
