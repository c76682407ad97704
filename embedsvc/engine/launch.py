"""How a replica is come by: started, for whoever owns it; joined, for a guest."""

import asyncio
import os
import pickle
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen
from typing import TypeAlias

from embedsvc.engine.relay import relay
from embedsvc.engine.replica import Replica, ReplicaUnusableError, Timing
from embedsvc.engine.sharing import listen, turn_away
from embedsvc.engine.wire import Answer, Kind, read_answer
from embedsvc.engine.worker import Order
from embedsvc.process import Process, follow

BUFFER = 1 << 20
"""Bytes of answers that are read ahead."""

QUIET = {"GOMP_SPINCOUNT": "10000"}
"""OpenMP's threads wait for each other by spinning, by default for milliseconds, which beside other programs
costs far more than it saves. docs/performance.md has figures."""

END_SECONDS = 5
"""What a process gets to notice that it is not needed any more."""

Opener: TypeAlias = Callable[[], AbstractAsyncContextManager[Replica]]
"""Comes by a replica, again after it was lost."""

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Child:
    """A process of our own: see `replica.Life`."""

    process: Process

    def end(self) -> None:
        """Kill it, and whatever it has started: that might hold its output open."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    async def ended(self) -> str:
        """Wait for its end."""
        return f"its process ended, status {await self.process.wait()}"


@dataclass(frozen=True, slots=True)
class Visit:
    """A connection to another's process, which goes on without it: see `replica.Life`."""

    writer: asyncio.StreamWriter

    def end(self) -> None:
        """Leave."""
        self.writer.transport.abort()

    async def ended(self) -> str:
        """Say so: it is what was seen."""
        return "its process hung up"


@contextmanager
def way_to(order: Order, timing: Timing, door: Path | None, *, owner: bool) -> Iterator[Opener]:
    """Say how a replica is come by, for as long as the context is open.

    Args:
        order: What it is to be.
        timing: How long anything may take.
        door: Where guests come in; None where there are none.
        owner: Whether this process starts it, or is a guest.

    Raises:
        ConfigurationError: There can be no door.
    """
    if door is None:
        yield partial(open_replica, order, timing)
    elif owner:
        with listen(door) as listener:
            yield partial(open_replica, order, timing, listener)
    else:
        yield partial(join_replica, order, door)


@asynccontextmanager
async def open_replica(
    order: Order, timing: Timing, listener: socket.socket | None = None
) -> AsyncIterator[Replica]:
    """Start a process, load and warm up its encoder; the process ends with the context.

    Args:
        order: What the process is to be.
        timing: How long anything may take.
        listener: Where guests come in, if there are any.

    Raises:
        ReplicaUnusableError: The encoder cannot be built, or cannot compute its warm-up, or not in time.
    """
    ours, theirs = socket.socketpair()
    with theirs, ExitStack() as unless_followed:
        unless_followed.enter_context(ours)
        process = await follow(_start(theirs, listener), BUFFER)
        unless_followed.pop_all()
    relaying = asyncio.create_task(relay(process.output, order.device))
    life = Child(process)
    try:
        async with _streams(ours) as streams:
            streams[1].write(pickle.dumps(order))
            ready = await _in_time(_first_answer(streams[0], life), timing.start)
            yield Replica(order, ready, life, streams, timing.patience)
    except ReplicaUnusableError:
        if listener:
            turn_away(listener)
        raise
    finally:
        ending = asyncio.create_task(_end(life, relaying))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await ending  # or the process would stay
            raise


def _start(connection: socket.socket, listener: socket.socket | None) -> Popen[bytes]:
    descriptors = [connection.fileno(), *([listener.fileno()] if listener else [])]
    return Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "embedsvc.engine.worker", *map(str, descriptors)],
        pass_fds=descriptors,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        env={**QUIET, **os.environ},
        start_new_session=True,  # a Ctrl-C is for the server, which then drains
    )


@asynccontextmanager
async def join_replica(order: Order, door: Path) -> AsyncIterator[Replica]:
    """Connect to a replica of another process, or to the next one that gets ready there.

    It is not watched for hanging: its owner does that, and kills it, which ends the connection.

    Args:
        order: What it is.
        door: Where it lets guests in.

    Raises:
        ReplicaUnusableError: None can be started there.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(connection, str(door))
    except OSError as error:
        connection.close()
        raise ReplicaUnusableError(f"nobody listens at its door: {error}") from error
    async with _streams(connection) as streams:
        life = Visit(streams[1])
        yield Replica(order, await _first_answer(streams[0], life), life, streams, patience=None)


@asynccontextmanager
async def _streams(connection: socket.socket) -> AsyncIterator[Streams]:
    with connection:
        reader, writer = await asyncio.open_connection(sock=connection, limit=BUFFER)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()  # what a process that hangs has not read, it never will
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _first_answer(reader: asyncio.StreamReader, life: Child | Visit) -> Answer:
    try:
        answer = await read_answer(reader)
    except (asyncio.IncompleteReadError, ConnectionError):
        raise ReplicaUnusableError(await life.ended()) from None
    if answer.kind is Kind.UNUSABLE:
        raise ReplicaUnusableError(bytes(answer.payload).decode())
    return answer


async def _in_time(answer: Awaitable[Answer], seconds: float) -> Answer:
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise ReplicaUnusableError(f"it was not ready after {seconds:g} s") from None


async def _end(life: Child, relaying: asyncio.Task[None]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):  # wait_for of Python 3.11 may swallow a cancellation
            await life.process.wait()
    life.end()
    await life.process.wait()
    await relaying
