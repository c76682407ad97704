"""The ledger: one place to tell of requests and of failed authentications."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embedsvc.background import running
from embedsvc.config import LedgerSettings
from embedsvc.ledger.failures import SECONDS, Tally
from embedsvc.ledger.outbox import Bounds, Outbox
from embedsvc.metrics import Metrics
from embedsvc.store.protocols import LedgerStore
from embedsvc.store.records import FailureRow, RequestRow

MOST_FAILURE_ROWS = 5_000
"""Rows of failed authentications that may wait."""


class Ledger:
    """Takes what is to be written down, and never waits. Open it with `open_ledger`."""

    def __init__(self, requests: Outbox[RequestRow], failures: Outbox[FailureRow], metrics: Metrics) -> None:
        self._requests = requests
        self._failures = failures
        self._metrics = metrics
        self._tally = Tally()

    def add(self, row: RequestRow) -> None:
        """Write down a request."""
        self._requests.put(row)

    def add_failure(self, prefix: str, reason: str, address: str) -> None:
        """Write down a failed authentication."""
        self._metrics.auth_failures.labels(reason).inc()
        self._tally.add(prefix, reason, address)

    def tell(self) -> None:
        """Send what was counted of failures."""
        for row in self._tally.take():
            self._failures.put(row)

    async def run(self) -> None:
        """Tell of failures from time to time, until cancelled."""
        while True:
            await asyncio.sleep(SECONDS)
            self.tell()


@asynccontextmanager
async def open_ledger(
    store: LedgerStore, settings: LedgerSettings, metrics: Metrics
) -> AsyncIterator[Ledger]:
    """Write behind the callers' backs while the context is open; leaving writes what is left."""
    requests = Outbox("requests", store.log_requests, Bounds(settings.queue_rows), metrics.outbox("requests"))
    failures = Outbox("failures", store.log_failures, Bounds(MOST_FAILURE_ROWS), metrics.outbox("failures"))
    ledger = Ledger(requests, failures, metrics)
    try:
        async with running(requests.run), running(failures.run), running(ledger.run):
            yield ledger
    finally:
        ledger.tell()
        await asyncio.gather(requests.drain(settings.drain_seconds), failures.drain(settings.drain_seconds))
