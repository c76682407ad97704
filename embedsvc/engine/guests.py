"""Inside a replica's process: the batches of several processes, one of each in turn.

The kernel's socket buffers are the queues. A connection is read when its turn comes, and no further than
one batch, so that nobody's second batch goes before another's first. The owner is told when a guest's batch
begins and ends: it watches those as it does its own. The guest is told when it begins, so that it knows which
were under way when the process ends.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from selectors import EVENT_READ, DefaultSelector
from struct import Struct
from threading import Lock
from typing import BinaryIO, TypeAlias, cast

from embedsvc.engine.wire import NUMBERS, Answer, Batch, Kind, read_batch, write_answer

STALL_SECONDS = 1.0
"""A guest that takes longer to write the rest of a batch, or to read an answer, is left: others wait."""

TOKENS = Struct("<I")  # what the owner is told of a guest's batch

Reply: TypeAlias = Callable[[Answer], None]
"""Answers a batch; to be called once, from any thread."""

Begin: TypeAlias = Callable[[], Reply]
"""Says that a batch has begun, and returns how it is answered; to be called once, before the next is read."""


class Line:
    """One connection. It reads no byte beyond the batch that it is asked for.

    Args:
        connection: A blocking socket, or one with a timeout.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._reader = cast("BinaryIO", connection.makefile("rb", buffering=1))  # bytes: no reading ahead
        self._writer = cast("BinaryIO", connection.makefile("wb"))
        self._writing = Lock()  # answers come from other threads than the one that reads

    def read(self) -> Batch | None:
        """Read a batch; None where there will be no more."""
        try:
            return read_batch(self._reader)
        except OSError:
            return None

    def write(self, number: int, answer: Answer) -> None:
        """Write an answer to the batch of a number.

        Raises:
            OSError: Nobody reads it. Whoever reads or writes next, here or there, sees the end.
        """
        with self._writing:
            if self._writer.closed:  # its batch was still under way when it left
                raise BrokenPipeError
            try:
                write_answer(self._writer, replace(answer, number=number))
            except OSError:
                with suppress(OSError):  # the other side was first
                    self.connection.shutdown(socket.SHUT_RDWR)
                raise

    def write_if_read(self, number: int, answer: Answer) -> None:
        """Write an answer, if anybody reads it."""
        with suppress(OSError):
            self.write(number, answer)

    def close(self) -> None:
        """Free what it holds."""
        self._reader.close()
        with self._writing, suppress(OSError):  # an answer that nobody reads
            self._writer.close()
        self.connection.close()


def take_turns(owner: socket.socket, listener: socket.socket, ready: Answer) -> Iterator[tuple[Batch, Begin]]:
    """Read batches of the owner and of guests, and say how each is begun, until the owner is gone.

    Args:
        owner: The way to who started this process.
        listener: Where guests come in.
        ready: What each guest is told first.
    """
    home, visits = Line(owner), count()
    with _selecting() as selector:
        selector.register(listener, EVENT_READ)
        selector.register(owner, EVENT_READ, home)
        while True:
            for key, _ in selector.select():
                line: Line | None = key.data
                if line is None:
                    _admit(listener, ready, selector)
                elif (batch := line.read()) and line is home:
                    yield batch, partial(_begin, home, batch)
                elif batch:
                    yield batch, _Visit(line, home, batch, next(visits) % NUMBERS).begin
                elif line is home:
                    return
                else:
                    selector.unregister(line.connection)
                    line.close()


@contextmanager
def _selecting() -> Iterator[DefaultSelector]:
    """A selector, whose lines are closed with it."""
    with DefaultSelector() as selector:
        try:
            yield selector
        finally:
            for key in list(selector.get_map().values()):
                if key.data:
                    key.data.close()


def _admit(listener: socket.socket, ready: Answer, selector: DefaultSelector) -> None:
    try:
        connection, _ = listener.accept()
    except OSError:  # who came has left again
        return
    connection.settimeout(STALL_SECONDS)
    line = Line(connection)
    try:
        line.write(0, ready)
    except OSError:
        line.close()
    else:
        selector.register(connection, EVENT_READ, line)


def _begin(owner: Line, batch: Batch) -> Reply:
    owner.write(batch.number, Answer(Kind.BEGUN, b""))
    return partial(owner.write, batch.number)


@dataclass(frozen=True, slots=True)
class _Visit:
    """A guest's batch, which the owner hears of.

    Attributes:
        guest: Whose it is.
        owner: Who watches it.
        batch: What it is.
        number: What it is called to the owner.
    """

    guest: Line
    owner: Line
    batch: Batch
    number: int

    def begin(self) -> Reply:
        """Say to both that it has begun; return how it is answered."""
        self.owner.write(self.number, Answer(Kind.VISIT, TOKENS.pack(self.batch.tokens)))
        self.guest.write_if_read(self.batch.number, Answer(Kind.BEGUN, b""))
        return self._answer

    def _answer(self, answer: Answer) -> None:
        self.guest.write_if_read(self.batch.number, answer)
        ended = Answer(Kind.ENDED, bytes([answer.kind]), answer.seconds, answer.gpu_memory)
        self.owner.write(self.number, ended)
