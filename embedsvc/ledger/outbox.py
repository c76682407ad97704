"""Rows on their way to the store: bounded, in batches, each sent until it is kept, once."""

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
import tenacity

from embedsvc.metrics import OutboxMetrics
from embedsvc.store.presence import Presence
from embedsvc.store.protocols import StoreAwayError, StoreRefusedError

log = structlog.get_logger()

Row = TypeVar("Row")
Send = Callable[[str, Sequence[Row]], Awaitable[None]]

SEND_SECONDS = 10.0
"""How long the store may take for a batch before it is sent again, under the same id."""

MOST_PAUSE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much an outbox holds.

    Attributes:
        rows: Rows that may wait; the oldest go when there are more.
        batch: Rows of a batch.
        seconds: How long a row waits for others.
    """

    rows: int
    batch: int = 200
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class _Batch(Generic[Row]):
    id: str
    rows: Sequence[Row]


class Outbox(Generic[Row]):
    """Takes rows at once, and sends them in the background."""

    def __init__(self, what: str, send: Send[Row], bounds: Bounds, metrics: OutboxMetrics) -> None:
        self._what = what
        self._send = send
        self._bounds = bounds
        self._metrics = metrics
        self._rows: deque[Row] = deque()
        self._pending: _Batch[Row] | None = None
        self._some = asyncio.Event()
        self._full = asyncio.Event()
        self._presence = Presence(f"{what} are not kept; they wait", f"{what} are kept again")

    def put(self, row: Row) -> None:
        """Send a row some time."""
        if len(self._rows) >= self._bounds.rows:
            self._rows.popleft()
            self._metrics.dropped.inc()
        self._rows.append(row)
        self._some.set()
        if len(self._rows) >= self._bounds.batch:
            self._full.set()

    async def run(self) -> None:
        """Send what there is, until cancelled."""
        while True:
            await self._gather()
            await self._flush()

    async def drain(self, seconds: float) -> None:
        """Send all that is left, in so much time; count what is not sent as dropped."""
        try:
            async with asyncio.timeout(seconds):
                while self._pending or self._rows:
                    await self._flush()
        except TimeoutError:
            self._drop(len(self._rows) + (len(self._pending.rows) if self._pending else 0))

    async def _gather(self) -> None:
        """Wait for a batch, or for as long as its first row may wait."""
        if self._pending is None:
            await self._some.wait()
            try:
                async with asyncio.timeout(self._bounds.seconds):
                    await self._full.wait()
            except TimeoutError:
                pass

    async def _flush(self) -> None:
        """Send one batch until it is kept, or refused for good."""
        batch = self._pending = self._pending or self._next()
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type((StoreAwayError, TimeoutError)),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=MOST_PAUSE_SECONDS),
            before_sleep=self._note,
        )
        try:
            await retrying(self._try, batch)
            self._metrics.kept.inc(len(batch.rows))
            self._presence.answered()
        except StoreRefusedError:
            log.exception("the store refuses a batch", what=self._what)
            self._drop(len(batch.rows))
        self._pending = None

    async def _try(self, batch: _Batch[Row]) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._send(batch.id, batch.rows)

    def _next(self) -> _Batch[Row]:
        count = min(len(self._rows), self._bounds.batch)
        batch = _Batch(uuid.uuid4().hex, [self._rows.popleft() for _ in range(count)])
        if not self._rows:
            self._some.clear()
        if len(self._rows) < self._bounds.batch:
            self._full.clear()
        return batch

    def _note(self, state: tenacity.RetryCallState) -> None:
        self._metrics.failures.inc()
        if state.outcome is not None and isinstance(error := state.outcome.exception(), Exception):
            self._presence.failed(error)

    def _drop(self, count: int) -> None:
        self._metrics.dropped.inc(count)
        log.warning("rows were dropped", what=self._what, count=count)
