"""The server's side of a replica: a process that computes batches, watched for hanging and dying."""

import asyncio
import json
import logging
import os
import pickle
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import numpy as np
import orjson
import structlog

from embedsvc.engine.pace import Pace
from embedsvc.engine.wire import Answer, Kind, encode_batch, read_answer
from embedsvc.engine.worker import Order
from embedsvc.types import TokenSequence, Vectors

log = structlog.get_logger()

PROBE = [[0] * 4]
"""A batch of one short text."""

STRIKES = 5
"""Batches that fail in a row before a replica has to prove that it is not broken."""

HANGS = 10
"""A batch hangs that takes so many times longer than the slowest of late would have, and `patience` more."""

QUIET = {"GOMP_SPINCOUNT": "10000"}
"""OpenMP's threads wait for each other by spinning, by default for milliseconds. Beside other programs that
makes a batch take ten times as long; less of it costs nothing. docs/performance.md has figures."""

DOUBT_SECONDS = 0.1
"""What the event loop gets to hand out an answer that is there already, after it stood still itself."""

BUFFER = 1 << 20
"""Bytes of answers that are read ahead."""


LEVELS = logging.getLevelNamesMapping()


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
        process: The process.
        streams: The way to it.
        patience: See `HANGS`; seconds.

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
        process: Process,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        patience: float,
    ) -> None:
        what = json.loads(bytes(ready.payload))
        self.device = order.device
        self.dimensions: int = what["dimensions"]
        self.padded: bool = what["padded"]
        self.depth: int = what["depth"]
        self.pace = Pace()
        self.pace.record(sum(map(len, order.warm_up)), ready.seconds)
        self.gpu_memory = ready.gpu_memory
        self._process = process
        self._reader, self._writer = streams
        self._patience = patience
        self._pending: deque[_Pending] = deque()
        self._watchdog: asyncio.TimerHandle | None = None
        self._fault = ""
        self._strikes = 0

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._pending

    async def encode(self, batch: Sequence[TokenSequence]) -> Encoded:
        """Compute a batch.

        Raises:
            BatchFailedError: The encoder raised.
            ReplicaExhaustedError: Memory ran out.
            ReplicaLostError: There is no process any more.
        """
        return await self._send(batch).answer

    async def probe(self) -> None:
        """Compute a short text. Raises as `encode` does; one that the encoder fails is its last."""
        await self._send(PROBE, probe=True).answer

    async def serve(self) -> None:
        """Hand out answers until the process is gone.

        Raises:
            ReplicaLostError: It is; whatever was under way fails with the same.
        """
        try:
            while True:
                self._take(await read_answer(self._reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            self._fault = self._fault or f"its process ended, status {await self._process.wait()}"
            raise ReplicaLostError(self._fault) from None
        finally:
            self._fault = self._fault or "it was closed"
            self._writer.close()
            self._unwatch()
            for at, pending in enumerate(self._pending):
                _resolve(pending.answer, ReplicaLostError(self._fault, begun=at < self.depth))
            self._pending.clear()

    def _send(self, batch: Sequence[TokenSequence], *, probe: bool = False) -> _Pending:
        if self._writer.is_closing():
            raise ReplicaLostError(self._fault)
        future = asyncio.get_running_loop().create_future()
        pending = _Pending(len(batch), sum(map(len, batch)), future, probe)
        self._pending.append(pending)
        if len(self._pending) == 1:
            self._watch()
        self._writer.write(encode_batch(batch))
        return pending

    def _take(self, answer: Answer) -> None:
        self._unwatch()
        pending = self._pending.popleft()
        self.gpu_memory = answer.gpu_memory if answer.kind is Kind.VECTORS else self.gpu_memory
        _resolve(pending.answer, self._judge(answer, pending))
        if self._pending:
            self._watch()

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
        self._strikes += 1
        if pending.probe:
            self._kill("it fails a short text that cannot be wrong")
        elif self._strikes == STRIKES:
            # Texts that fail whatever they are in may be all that is wrong. Nobody waits for the answer.
            self._send(PROBE, probe=True).answer.add_done_callback(asyncio.Future.exception)
        return BatchFailedError(message)

    def _watch(self) -> None:
        """Start to wait for the batch that is first now."""
        allowed = self._patience + HANGS * self.pace.at_worst(self._pending[0].tokens)
        fault = f"a batch took longer than {allowed:.1f} s"
        self._watchdog = asyncio.get_running_loop().call_later(allowed, self._doubt, fault)

    def _unwatch(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _doubt(self, fault: str) -> None:
        self._watchdog = asyncio.get_running_loop().call_later(DOUBT_SECONDS, self._kill, fault)

    def _kill(self, fault: str) -> None:
        self._fault = fault
        _kill_session(self._process)


def _resolve(future: asyncio.Future[Encoded], result: Encoded | ReplicaError) -> None:
    if future.done():  # whoever asked has gone
        return
    if isinstance(result, ReplicaError):
        future.set_exception(result)
    else:
        future.set_result(result)


@asynccontextmanager
async def open_replica(order: Order, timing: Timing) -> AsyncIterator[Replica]:
    """Start a process, load and warm up its encoder; the process ends with the context.

    Args:
        order: What the process is to be.
        timing: How long anything may take.

    Raises:
        ReplicaUnusableError: The encoder cannot be built, or cannot compute its warm-up, or not in time.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "embedsvc.engine.worker", str(theirs.fileno())),
            pass_fds=[theirs.fileno()],
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=BUFFER,
            env={**QUIET, **os.environ},
            start_new_session=True,  # a Ctrl-C is for the server, which then drains
        )
    relaying = asyncio.create_task(_relay(process, order.device))
    try:
        async with _streams(ours) as streams:
            streams[1].write(pickle.dumps(order))
            ready = await _first_answer(streams[0], process, timing.start)
            yield Replica(order, ready, process, streams, timing.patience)
    finally:
        ending = asyncio.create_task(_end(process, relaying))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await ending  # or the process would stay
            raise


@asynccontextmanager
async def _streams(
    connection: socket.socket,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    with connection:
        reader, writer = await asyncio.open_connection(sock=connection, limit=BUFFER)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()  # what a process that hangs has not read, it never will
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _first_answer(reader: asyncio.StreamReader, process: Process, seconds: float) -> Answer:
    try:
        async with asyncio.timeout(seconds):
            answer = await read_answer(reader)
    except TimeoutError:
        raise ReplicaUnusableError(f"it was not ready after {seconds:g} s") from None
    except (asyncio.IncompleteReadError, ConnectionError):
        raise ReplicaUnusableError(f"its process ended, status {await process.wait()}") from None
    if answer.kind is Kind.UNUSABLE:
        raise ReplicaUnusableError(bytes(answer.payload).decode())
    return answer


async def _relay(process: Process, device: str) -> None:
    """Put what the process logs into the log, and what libraries write there too."""
    while line := await _read_line(process):
        if text := line.decode(errors="replace").strip():
            _log_line(text, device)


async def _read_line(process: Process) -> bytes:
    if process.stdout is None:
        raise RuntimeError("a replica's output is always a pipe")
    try:
        return await process.stdout.readline()
    except ValueError:
        return b"(a line that is too long to repeat)"


def _log_line(text: str, device: str) -> None:
    try:
        fields = orjson.loads(text)
        event, level = fields.pop("event"), LEVELS[fields.pop("level").upper()]
    except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError):
        log.warning("replica wrote", device=device, text=text)
    else:
        log.log(level, event, **{"device": device, **fields})


END_SECONDS = 5
"""What a process gets to notice that it is not needed any more."""


async def _end(process: Process, relaying: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(END_SECONDS):  # wait_for of Python 3.11 may swallow a cancellation
            await process.wait()
    except TimeoutError:
        pass
    _kill_session(process)
    await process.wait()
    await relaying


def _kill_session(process: Process) -> None:
    """Kill a process, and whatever it has started: that might hold its output open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
