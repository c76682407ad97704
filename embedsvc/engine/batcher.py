"""The thin asynchronous shell around the scheduler: jobs in, batches to replicas, one future a job."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import TypeAlias

import numpy as np
import structlog

from embedsvc.engine.job import Computed, Job, Ticket
from embedsvc.engine.limits import BatchLimits
from embedsvc.engine.occupancy import Occupancy
from embedsvc.engine.pool import Pool
from embedsvc.engine.replica import (
    BatchFailedError,
    Encoded,
    Replica,
    ReplicaExhaustedError,
    ReplicaLostError,
)
from embedsvc.engine.schedule import Assignment, Scheduler
from embedsvc.engine.wire import Room
from embedsvc.errors import (
    DeadlineExceededError,
    EmbedsvcError,
    InternalError,
    OverloadedError,
    ProviderDownError,
)
from embedsvc.metrics import EngineMetrics
from embedsvc.types import Caller, TokenSequence

log = structlog.get_logger()

LOST_TWICE = 2
"""A text that was under way when two replicas were lost may be why: it gets no third."""

Batch: TypeAlias = Assignment[Ticket, Replica]


class Batcher:
    """Jobs of one model, to that model's replicas.

    Args:
        pool: Where batches run.
        limits: How large they may be.
        metrics: Where batches and the queue are counted.

    Attributes:
        pool: The same.
        closed: Whether new jobs are refused.
    """

    def __init__(self, pool: Pool, limits: BatchLimits, metrics: EngineMetrics) -> None:
        self.pool = pool
        self.closed = False
        self._metrics = metrics
        self._scheduler: Scheduler[Ticket, Replica] = Scheduler(limits)
        self._under_way: set[asyncio.Future[Encoded]] = set()
        self._inside = Occupancy()
        self._woken = False

    @property
    def queued_tokens(self) -> int:
        """Tokens that wait."""
        return self._scheduler.queue.tokens

    def entered(self) -> AbstractContextManager[None]:
        """What is begun while the context is open is finished before the batcher closes.

        Raises:
            OverloadedError: It is closed.
        """
        if self.closed:
            raise OverloadedError("the server is shutting down")
        return self._inside

    async def submit(self, texts: Sequence[TokenSequence], caller: Caller) -> Computed:
        """Compute the vectors of one request's texts. Cancelling it takes them out of the queue.

        To be called within `entered`.

        Raises:
            ProviderDownError: No replica works.
            DeadlineExceededError: The caller's deadline passed, or would have.
            InternalError: An encoder failed.
        """
        if self.pool.hopeless:
            raise _down()
        vectors = np.zeros((len(texts), self.pool.dimensions), dtype=np.float32)
        if not texts:
            return Computed(vectors)
        job = Job(texts, caller, vectors, asyncio.get_running_loop().create_future(), time.monotonic())
        self._scheduler.queue.add(job.tickets())
        self._wake()
        try:
            async with asyncio.timeout_at(caller.deadline):
                return await job.future
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed before the vectors were ready") from None
        finally:
            if job.done < len(texts):
                self._scheduler.queue.leave(sum(map(len, texts)))

    def joined(self, replica: Replica) -> None:
        """See `pool.Listener`."""
        self._scheduler.join(replica, replica.depth, replica.lanes, replica.worth_all)
        self._wake()

    def left(self, replica: Replica) -> None:
        """See `pool.Listener`."""
        self._scheduler.leave(replica)

    def given_up(self) -> None:
        """See `pool.Listener`: nobody waits for a replica that may never come."""
        self._fail(self._scheduler.queue.drain(), _down())

    async def close(self) -> None:
        """Take nothing new, compute what waits, and return when all is done."""
        self.closed = True
        try:
            await self._inside.empty()
        finally:
            self._fail(self._scheduler.queue.drain(), InternalError())
            while self._under_way:
                await asyncio.wait(self._under_way)

    def _wake(self) -> None:
        """Decide once for all that happens in this turn of the event loop."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._woken = False
        now = time.monotonic()
        while batch := self._scheduler.next(now, _refuse):
            self._start(batch, now)

    def _start(self, batch: Batch, now: float) -> None:
        self._metrics.batch_texts.observe(len(batch.batch))
        self._metrics.batch_tokens.observe(batch.tokens)
        for ticket in batch.batch:
            if ticket.job.started is None:
                ticket.job.started = now
        encoding = batch.replica.encode([ticket.tokens for ticket in batch.batch], batch.room)
        self._under_way.add(encoding)
        encoding.add_done_callback(partial(self._end, batch))

    def _end(self, batch: Batch, encoding: asyncio.Future[Encoded]) -> None:
        """See what became of a batch. Whatever it is, its texts are computed, queued again or failed.

        The next batch goes out before anybody is woken: a replica must not wait while all of them answer.
        """
        encoded = None
        try:
            encoded = encoding.result()
        except ReplicaExhaustedError:
            self._metrics.batch_failures.inc()
            self._retry_smaller(batch)
        except BatchFailedError as error:
            self._metrics.batch_failures.inc()
            self._isolate(batch, error)
        except ReplicaLostError as error:
            self._scheduler.leave(batch.replica)  # which `left` comes to say only when its process is gone
            self._fail_over(batch, error)
        except (Exception, asyncio.CancelledError):
            self._fail(batch.batch, InternalError())
            log.exception("batching failed", device=batch.replica.device)
        finally:
            self._under_way.discard(encoding)
            self._scheduler.finish(batch, encoded.seconds if encoded else None)
            self._dispatch()
        if encoded:
            self._hand_out(batch, encoded)

    def _hand_out(self, batch: Batch, encoded: Encoded) -> None:
        now = time.monotonic()
        for ticket, vector in zip(batch.batch, encoded.vectors, strict=True):
            ticket.job.place(ticket.index, vector, now)

    def _retry_smaller(self, batch: Batch) -> None:
        """After memory ran out: halves, down to a single text that is too much with nothing beside it."""
        log.warning("memory ran out", device=batch.replica.device, tokens=batch.tokens)
        if len(batch.batch) > 1:
            self._scheduler.shrink(batch)
        elif batch.room is not Room.EXCLUSIVE and batch.replica.depth > 1:
            self._scheduler.set_apart(batch)
        else:
            self._fail(batch.batch, OverloadedError("the device is out of memory; try again later"))

    def _isolate(self, batch: Batch, error: BatchFailedError) -> None:
        """After a batch failed: halves, until the text that fails is alone."""
        log.error("batch failed", device=batch.replica.device, texts=len(batch.batch), reason=str(error))
        if len(batch.batch) == 1:
            self._fail(batch.batch, InternalError())
        else:
            self._scheduler.split(batch)

    def _fail_over(self, batch: Batch, error: ReplicaLostError) -> None:
        """After the replica was lost: once more on another.

        What it had begun may be why: for one more loss in so many parts that few fail with the culprit, each
        with nothing beside it.
        """
        if not error.begun:
            self._scheduler.split(batch, parts=1)
            return
        for ticket in batch.batch:
            ticket.lost += 1
        self._fail([ticket for ticket in batch.batch if ticket.lost >= LOST_TWICE], InternalError())
        self._scheduler.set_apart(batch, parts=math.isqrt(len(batch.batch) - 1) + 1)

    def _fail(self, tickets: Sequence[Ticket], error: EmbedsvcError) -> None:
        for ticket in tickets:
            ticket.job.fail(error)


def _down() -> ProviderDownError:
    return ProviderDownError("no replica of the model works; try again later")


def _refuse(ticket: Ticket) -> None:
    ticket.job.fail(DeadlineExceededError("the deadline is too near for what is queued"))


@asynccontextmanager
async def open_batcher(pool: Pool, limits: BatchLimits, metrics: EngineMetrics) -> AsyncIterator[Batcher]:
    """Run a batcher over a pool; leaving the context computes what waits, then stops."""
    batcher = Batcher(pool, limits, metrics)
    metrics.queue_tokens.set_function(lambda: batcher.queued_tokens)
    pool.listen(batcher)
    try:
        yield batcher
    finally:
        await batcher.close()
