"""The texts of one request, and the one future that all of them resolve."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from embedsvc.errors import EmbedsvcError
from embedsvc.types import Caller, TokenSequence, Vectors


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

    def tickets(self) -> list["Ticket"]:
        """One for each text."""
        return [Ticket(self, index, tokens, len(tokens)) for index, tokens in enumerate(self.texts)]

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


@dataclass(slots=True, eq=False)
class Ticket:
    """One text of a job, as the queue sees it (`turns.Waiting`).

    Attributes:
        job: Whose text it is.
        index: Which.
        tokens: Its token ids.
        length: See `turns.Waiting`. Kept, since a queue asks a dozen times.
        lost: How often a replica went away with it.
    """

    job: Job
    index: int
    tokens: TokenSequence
    length: int
    lost: int = 0

    @property
    def caller(self) -> str:
        """See `turns.Waiting`."""
        return self.job.caller.name

    @property
    def bulk(self) -> bool:
        """See `turns.Waiting`."""
        return self.job.caller.bulk

    @property
    def deadline(self) -> float | None:
        """See `turns.Waiting`."""
        return self.job.caller.deadline

    @property
    def dead(self) -> bool:
        """Its caller has left, its deadline has passed, or another text of its job failed."""
        return self.job.future.done()
