"""The thin asynchronous shell around the queue: jobs in, batches to replicas, one future a job.

A batch is formed when a replica is free, never by waiting for company: an idle replica starts at
once, a busy one lets the next batch grow.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import structlog

from embedsvc.engine.pool import Replica
from embedsvc.engine.queue import BatchLimits, FairQueue
from embedsvc.errors import DeadlineExceededError, EmbedsvcError, InternalError, OverloadedError
from embedsvc.metrics import EngineMetrics
from embedsvc.types import Caller, TokenSequence, Vectors

log = structlog.get_logger()


@dataclass(slots=True)
class Computed:
    """A finished job.

    Attributes:
        vectors: Float32 of shape [texts, dimensions], not normalized.
        queued: Seconds until the first text was in a batch.
        inferred: Seconds from there to the end of the last batch.
    """

    vectors: Vectors
    queued: float = 0.0
    inferred: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    """The texts of one request, and the one future that all of them resolve."""

    texts: Sequence[TokenSequence]
    caller: Caller
    vectors: Vectors
    future: asyncio.Future[Computed]
    submitted: float
    started: float | None = None
    done: int = 0

    def expired(self, now: float) -> bool:
        """Whether its caller's deadline has passed."""
        return self.caller.deadline is not None and now >= self.caller.deadline

    def place(self, index: int, vector: Vectors, now: float) -> None:
        """Keep one vector; the last one resolves the future."""
        self.vectors[index] = vector
        self.done += 1
        if self.done == len(self.texts) and not self.future.done():
            started = self.started if self.started is not None else now
            self.future.set_result(Computed(self.vectors, started - self.submitted, now - started))

    def fail(self, error: EmbedsvcError) -> None:
        """Resolve the future with an error, unless it is resolved."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """One text of a job, as the queue sees it."""

    job: Job
    index: int

    @property
    def tokens(self) -> TokenSequence:
        """The text's token ids."""
        return self.job.texts[self.index]

    @property
    def length(self) -> int:
        """See `queue.Waiting`."""
        return len(self.tokens)

    @property
    def caller(self) -> str:
        """See `queue.Waiting`."""
        return self.job.caller.name

    @property
    def dead(self) -> bool:
        """Its caller has left, its deadline has passed, or another text of its job failed."""
        return self.job.future.done()


@dataclass(slots=True)
class Batcher:
    """Jobs of one model, to that model's replicas.

    Attributes:
        replicas: Where batches run.
        metrics: Where batches and the queue are counted.
        queue: What waits.
        closed: Whether new jobs are refused.
    """

    replicas: Sequence[Replica]
    metrics: EngineMetrics
    queue: FairQueue[Ticket]
    closed: bool = False
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(self, texts: Sequence[TokenSequence], caller: Caller) -> Computed:
        """Compute the vectors of one request's texts. Cancelling it takes them out of the queue.

        Raises:
            OverloadedError: The server drains.
            DeadlineExceededError: The caller's deadline passed while they waited.
            InternalError: An encoder failed.
        """
        if self.closed:
            raise OverloadedError("the server is shutting down")
        loop = asyncio.get_running_loop()
        vectors = np.zeros((len(texts), self.replicas[0].dimensions), dtype=np.float32)
        if not texts:
            return Computed(vectors)
        job = Job(texts, caller, vectors, loop.create_future(), loop.time())
        self.queue.add(Ticket(job, index) for index in range(len(texts)))
        self.metrics.queue_tokens.set(self.queue.tokens)
        self._arrived.set()
        return await job.future

    async def serve(self, replica: Replica) -> None:
        """Feed one replica until the batcher is closed and nothing waits.

        Whatever ends it otherwise is a defect of ours: then nobody is left waiting, and nobody let in.
        """
        try:
            await self._serve(replica)
        except BaseException as error:
            if isinstance(error, Exception):
                log.exception("batching stopped", device=replica.device)
            self.close()
            for ticket in self.queue.drain():
                ticket.job.fail(InternalError())
            raise

    async def _serve(self, replica: Replica) -> None:
        while True:
            batch = self._form()
            if batch:
                await self._run(replica, batch)
            elif self.closed:
                return
            else:
                self._arrived.clear()
                await self._arrived.wait()

    def close(self) -> None:
        """Take nothing new; what waits is still computed."""
        self.closed = True
        self._arrived.set()

    def _form(self) -> list[Ticket]:
        """Take batches until one has a text that somebody still waits for, or none are left."""
        now = asyncio.get_running_loop().time()
        batch: list[Ticket] = []
        while not batch and self.queue:
            batch = [ticket for ticket in self.queue.take() if not self._expire(ticket.job, now)]
        self.metrics.queue_tokens.set(self.queue.tokens)
        for ticket in batch:
            if ticket.job.started is None:
                ticket.job.started = now
        return batch

    def _expire(self, job: Job, now: float) -> bool:
        if job.expired(now):
            job.fail(DeadlineExceededError("the deadline passed while the request was queued"))
        return job.future.done()

    async def _run(self, replica: Replica, batch: Sequence[Ticket]) -> None:
        self.metrics.batch_texts.observe(len(batch))
        self.metrics.batch_tokens.observe(sum(ticket.length for ticket in batch))
        try:
            vectors = await replica.encode([ticket.tokens for ticket in batch])
        except BaseException as error:
            for ticket in batch:
                ticket.job.fail(InternalError())
            if not isinstance(error, Exception):
                raise
            self.metrics.batch_failures.inc()
            log.exception("batch failed", device=replica.device, texts=len(batch))
            return
        now = asyncio.get_running_loop().time()
        for ticket, vector in zip(batch, vectors, strict=True):
            ticket.job.place(ticket.index, vector, now)


@asynccontextmanager
async def open_batcher(
    replicas: Sequence[Replica], limits: BatchLimits, metrics: EngineMetrics
) -> AsyncIterator[Batcher]:
    """Run a batcher over the replicas; leaving the context computes what waits, then stops."""
    batcher = Batcher(replicas, metrics, FairQueue(limits))
    serving = [asyncio.create_task(batcher.serve(replica)) for replica in replicas]
    try:
        yield batcher
    finally:
        batcher.close()
        await asyncio.gather(*serving)
