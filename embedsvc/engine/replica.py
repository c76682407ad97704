"""The server's side of a replica: a process that computes batches, watched for hanging and dying."""

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from embedsvc.engine.pace import Pace
from embedsvc.engine.wire import BATCH, Answer, Kind, encode_batch, read_answer
from embedsvc.engine.worker import Order
from embedsvc.types import TokenSequence, Vectors

PROBE = [[0] * 4]
"""A batch of one short text."""

STRIKES = 5
"""Batches that fail in a row before a replica has to prove that it is not broken."""

HANGS = 10
"""A batch hangs that takes so many times longer than the slowest of late would have, and `patience` more."""

DOUBT_SECONDS = 0.1
"""What the event loop gets to hand out an answer that is there already, after it stood still itself."""


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
    """An encoder in a process of its own. Batches are computed in the order they come in.

    Args:
        order: What the process is.
        ready: What it said when it was.
        life: The process, or the connection to it.
        streams: The way to it.
        patience: See `HANGS`; seconds. None for a guest: the owner of the process watches it.

    Attributes:
        device: Where it runs.
        dimensions: The length of its vectors.
        padded: See `Encoder.padded`.
        depth: Batches that it works on at once.
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
        self.depth: int = what["depth"]
        self.pace = Pace()
        self.pace.record(sum(map(len, order.warm_up)), ready.seconds)
        self.gpu_memory = ready.gpu_memory
        self._life = life
        self._reader, self._writer = streams
        self._patience = patience
        self._pending: deque[_Pending] = deque()
        self._begun: deque[int] = deque()  # tokens: to a guest of its batches, to the owner of its guests'
        self._watchdog: asyncio.TimerHandle | None = None
        self._fault = ""
        self._strikes = 0

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._pending

    def encode(self, batch: Sequence[TokenSequence]) -> asyncio.Future[Encoded]:
        """Send a batch, at once; what is returned gets its vectors.

        Raises, where it is awaited:
            BatchFailedError: The encoder raised.
            ReplicaExhaustedError: Memory ran out.
            ReplicaLostError: There is no process any more.
        """
        return self._send(batch)

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
            self._fault = self._fault or await self._life.ended()
            raise ReplicaLostError(self._fault) from None
        finally:
            self._fault = self._fault or "it was closed"
            self._writer.close()
            self._unwatch()
            begun = self.depth if self._patience is not None else len(self._begun)
            for at, pending in enumerate(self._pending):
                _resolve(pending.answer, ReplicaLostError(self._fault, begun=at < begun))
            self._pending.clear()

    def _send(self, batch: Sequence[TokenSequence], *, probe: bool = False) -> asyncio.Future[Encoded]:
        future: asyncio.Future[Encoded] = asyncio.get_running_loop().create_future()
        if self._writer.is_closing():
            future.set_exception(ReplicaLostError(self._fault))
            return future
        self._pending.append(_Pending(len(batch), sum(map(len, batch)), future, probe))
        if len(self._pending) == 1 and not self._begun:
            self._watch()
        self._writer.write(encode_batch(batch))
        return future

    def _take(self, answer: Answer) -> None:
        self._unwatch()
        if answer.kind is Kind.BEGUN:
            self._begun.append(BATCH.unpack(answer.payload)[1])
        elif answer.kind is Kind.ENDED:
            self._hear(Kind(answer.payload[0]), self._begun.popleft(), answer)
        else:
            self._receive(answer, self._pending.popleft())
        if self._pending or self._begun:
            self._watch()

    def _receive(self, answer: Answer, pending: _Pending) -> None:
        """Hand out the answer to a batch of ours."""
        if self._patience is None:
            self._begun.popleft()
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
        """Start to wait for the next word on what is under way, ours or a guest's."""
        self._unwatch()
        if self._patience is None:
            return
        tokens = max(self._begun[0] if self._begun else 0, self._pending[0].tokens if self._pending else 0)
        allowed = self._patience + HANGS * self.pace.at_worst(tokens)
        fault = f"a batch took longer than {allowed:.1f} s"
        self._watchdog = asyncio.get_running_loop().call_later(allowed, self._doubt, fault)

    def _unwatch(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _doubt(self, fault: str) -> None:
        self._watchdog = asyncio.get_running_loop().call_later(DOUBT_SECONDS, self._end, fault)

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
