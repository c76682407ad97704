"""The server's side of a replica: a process that computes batches, watched for hanging and dying."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import numpy as np

from embedsvc.engine.guests import TOKENS
from embedsvc.engine.pace import Pace
from embedsvc.engine.watchdog import Watchdog
from embedsvc.engine.wire import NUMBERS, Answer, Batch, Kind, Room, encode_batch, read_answer
from embedsvc.engine.worker import Order
from embedsvc.types import TokenSequence, Vectors

PROBE = [[0] * 4]
"""A batch of one short text."""

STRIKES = 5
"""Batches that fail in a row before a replica has to prove that it is not broken."""


class ReplicaError(Exception):
    """Something is wrong with a replica, or with what it was given."""


class BatchFailedError(ReplicaError):
    """The encoder raised; the message has its traceback."""


class ReplicaExhaustedError(ReplicaError):
    """Memory ran out: a smaller batch may fit."""


class ReplicaLostError(ReplicaError):
    """The process died, hung, or failed too often.

    Attributes:
        begun: Whether the batch may be why: it was the one under way.
    """

    def __init__(self, message: str, *, begun: bool = False) -> None:
        super().__init__(message)
        self.begun = begun


class ReplicaUnusableError(ReplicaError):
    """The encoder cannot be built, or cannot compute its warm-up."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long anything may take.

    Attributes:
        start: Seconds until the first answer: loading and warming up.
        patience: Seconds of a batch, beside `HANGS`.
    """

    start: float
    patience: float


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch's vectors.

    Attributes:
        vectors: Float32 of shape [texts, dimensions].
        seconds: What the encoder took.
    """

    vectors: Vectors
    seconds: float


class Life(Protocol):
    """What keeps a replica going, as far as it is in our hands."""

    def end(self) -> None:
        """End it at once."""

    async def ended(self) -> str:
        """Wait for its end; say how that came."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    texts: int
    tokens: int
    answer: asyncio.Future[Encoded]
    probe: bool


class Replica:
    """An encoder in a process of its own. Batches are begun in the order they come in.

    Args:
        order: What the process is.
        ready: What it said when it was.
        life: The process, or the connection to it.
        streams: The way to it.
        patience: See `Watchdog`; seconds. None for a guest: the owner of the process watches it.

    Attributes:
        device: Where it runs.
        dimensions: The length of its vectors.
        padded: See `Encoder.padded`.
        revision: Of its weights.
        depth: Batches that it works on at once.
        lanes: How many of them it computes side by side.
        worth_all: Tokens from which on a batch without company is to have all lanes.
        pace: How fast it has been.
        gpu_memory: Bytes of its device's memory that it holds; None without a GPU.
    """

    def __init__(
        self,
        order: Order,
        ready: Answer,
        life: Life,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        patience: float | None,
    ) -> None:
        what = json.loads(bytes(ready.payload))
        self.device = order.device
        self.dimensions: int = what["dimensions"]
        self.padded: bool = what["padded"]
        self.revision: str = what["revision"]
        self.depth: int = what["depth"]
        self.lanes: int = what["lanes"]
        self.worth_all: int = what["worth_all"]
        self.pace = Pace()
        self.pace.record(sum(map(len, order.warm_up)), ready.seconds)
        self.gpu_memory = ready.gpu_memory
        self._life = life
        self._reader, self._writer = streams
        self._patience = patience
        self._numbers = count()
        self._pending: dict[int, _Pending] = {}  # by the batch's number, the oldest first
        self._shared: bool = what["shared"]  # so that a batch may wait for another's, and is said to begin
        self._begun: set[int] = set()  # of those that are said to have
        self._visits: dict[int, int] = {}  # tokens of guests' batches that have begun, the oldest first
        self._watchdogs = [Watchdog(patience, self.pace, self._end) for _ in (self._pending, self._visits)]
        self._fault = ""
        self._strikes = 0

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._pending

    def encode(self, texts: Sequence[TokenSequence], room: Room = Room.LANE) -> asyncio.Future[Encoded]:
        """Send a batch, at once; what is returned gets its vectors.

        Args:
            texts: Token ids of each.
            room: What of it the batch is to have.

        Raises, where it is awaited:
            BatchFailedError: The encoder raised.
            ReplicaExhaustedError: Memory ran out.
            ReplicaLostError: There is no process any more.
        """
        return self._send(texts, room)

    async def probe(self) -> None:
        """Compute a short text. Raises as `encode` does; one that the encoder fails is its last."""
        await self._send(PROBE, probe=True)

    async def serve(self) -> None:
        """Hand out answers until the process is gone.

        Raises:
            ReplicaLostError: It is; whatever was under way fails with the same.
        """
        try:
            while True:
                self._take(await read_answer(self._reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            self._writer.close()  # whatever still comes has not begun
            self._fault = self._fault or await self._life.ended()
            raise ReplicaLostError(self._fault) from None
        finally:
            self._fault = self._fault or "it was closed"
            self._writer.close()
            for watchdog in self._watchdogs:
                watchdog.stop()
            begun = self._begun if self._shared else [*self._pending][: self.depth]
            for number, pending in self._pending.items():
                _resolve(pending.answer, ReplicaLostError(self._fault, begun=number in begun))
            self._pending.clear()

    def _send(
        self, texts: Sequence[TokenSequence], room: Room = Room.LANE, *, probe: bool = False
    ) -> asyncio.Future[Encoded]:
        future: asyncio.Future[Encoded] = asyncio.get_running_loop().create_future()
        if self._writer.is_closing():
            future.set_exception(ReplicaLostError(self._fault))
            return future
        batch = Batch(next(self._numbers) % NUMBERS, texts, room)
        self._pending[batch.number] = _Pending(len(texts), batch.tokens, future, probe)
        self._watch()
        self._writer.write(encode_batch(batch))
        return future

    def _take(self, answer: Answer) -> None:
        if answer.kind is Kind.BEGUN:
            self._begun.add(answer.number)
        elif answer.kind is Kind.VISIT:
            (self._visits[answer.number],) = TOKENS.unpack(answer.payload)
        elif answer.kind is Kind.ENDED:
            self._hear(Kind(answer.payload[0]), self._visits.pop(answer.number), answer)
        else:
            self._receive(answer, self._pending[answer.number])
            self._begun.discard(answer.number)
            del self._pending[answer.number]
        self._watch()

    def _receive(self, answer: Answer, pending: _Pending) -> None:
        """Hand out the answer to a batch of ours."""
        if answer.kind is Kind.VECTORS:
            self.gpu_memory = answer.gpu_memory
        _resolve(pending.answer, self._judge(answer, pending))

    def _hear(self, outcome: Kind, tokens: int, ended: Answer) -> None:
        """Take note of how a guest's batch went."""
        if outcome is Kind.VECTORS:
            self.gpu_memory = ended.gpu_memory
            self._strikes = 0
            self.pace.record(tokens, ended.seconds)
        elif outcome is Kind.FAILED:
            self._strike()

    def _judge(self, answer: Answer, pending: _Pending) -> Encoded | ReplicaError:
        if answer.kind is Kind.VECTORS:
            self._strikes = 0
            if not pending.probe:
                self.pace.record(pending.tokens, answer.seconds)
            vectors = np.frombuffer(answer.payload, np.float32).reshape(pending.texts, self.dimensions)
            return Encoded(vectors, answer.seconds)
        message = bytes(answer.payload).decode(errors="replace")
        if answer.kind is Kind.EXHAUSTED:
            return ReplicaExhaustedError(message)
        if pending.probe:
            self._end("it fails a short text that cannot be wrong")
        else:
            self._strike()
        return BatchFailedError(message)

    def _strike(self) -> None:
        self._strikes += 1
        if self._strikes == STRIKES:
            # Texts that fail whatever they are in may be all that is wrong. Nobody waits for the answer.
            self._send(PROBE, probe=True).add_done_callback(asyncio.Future.exception)

    def _watch(self) -> None:
        """Watch our oldest batch, and the oldest of guests: others may go on beside one that hangs.

        One of ours that has not begun may wait for guests', but for nothing where none of theirs has begun.
        """
        waits = self._shared and self._visits
        ours = next((number for number in self._pending if number in self._begun or not waits), None)
        self._watchdogs[0].watch(ours, 0 if ours is None else self._pending[ours].tokens)
        self._watchdogs[1].watch(*next(iter(self._visits.items()), (None, 0)))

    def _end(self, fault: str) -> None:
        self._fault = fault
        self._life.end()


def _resolve(future: asyncio.Future[Encoded], result: Encoded | ReplicaError) -> None:
    if future.done():  # whoever asked has gone
        return
    if isinstance(result, ReplicaError):
        future.set_exception(result)
    else:
        future.set_result(result)
