"""Forgets what is older than it may be kept."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog

from embedsvc.background import running
from embedsvc.config import LedgerSettings
from embedsvc.periods import DAY
from embedsvc.store.protocols import LedgerStore, StoreError

log = structlog.get_logger()

INTERVAL = 3600.0
AT_ONCE = 2_000
"""Rows of one step: others write in between."""


async def purge(store: LedgerStore, settings: LedgerSettings) -> int:
    """Forget what is too old; return how many rows. Raises StoreError."""
    now = time.time()
    last = dt.datetime.fromtimestamp(now - settings.usage_retention_days * DAY, dt.UTC).date()
    total = 0
    while gone := await store.purge(now - settings.retention_days * DAY, last.isoformat(), AT_ONCE):
        total += gone
    return total


@asynccontextmanager
async def purging(store: LedgerStore, settings: LedgerSettings) -> AsyncIterator[None]:
    """Forget every hour while the context is open."""
    async with running(partial(_run, store, settings)):
        yield


async def _run(store: LedgerStore, settings: LedgerSettings) -> None:
    while True:
        try:
            if gone := await purge(store, settings):
                log.info("old rows were purged", rows=gone)
        except StoreError as error:
            log.warning("old rows were not purged", error=str(error))
        await asyncio.sleep(INTERVAL)
