"""Inside a replica's process: the batches of several processes, one of each in turn.

The kernel's socket buffers are the queues. A connection is read when its turn comes, and no further than
one batch, so that nobody's second batch goes before another's first. The owner is told when a guest's batch
begins and ends: it watches those as it does its own. The guest is told when it begins, so that it knows which
were under way when the process ends.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from selectors import EVENT_READ, DefaultSelector
from threading import Lock
from typing import BinaryIO, TypeAlias, cast

from embedsvc.engine.wire import BATCH, Answer, Kind, read_batch, write_answer
from embedsvc.types import TokenSequence

STALL_SECONDS = 1.0
"""A guest that takes longer to write the rest of a batch, or to read an answer, is left: others wait."""

Reply: TypeAlias = Callable[[Answer], None]
"""Answers a batch; to be called once, in the order of the batches, from any thread."""


class Line:
    """One connection. It reads no byte beyond the batch that it is asked for.

    Args:
        connection: A blocking socket, or one with a timeout.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._reader = cast("BinaryIO", connection.makefile("rb", buffering=1))  # bytes: no reading ahead
        self._writer = cast("BinaryIO", connection.makefile("wb"))
        self._writing = Lock()  # a pipelined encoder's answers come from a thread of their own

    def read(self) -> Sequence[TokenSequence] | None:
        """Read a batch; None where there will be no more."""
        try:
            return read_batch(self._reader)
        except OSError:
            return None

    def write(self, answer: Answer) -> None:
        """Write an answer. Raises OSError where nobody reads it."""
        with self._writing:
            write_answer(self._writer, answer)

    def write_or_hang_up(self, answer: Answer) -> None:
        """Write an answer, or where nobody reads it have whoever reads next, here or there, see the end."""
        try:
            self.write(answer)
        except OSError:
            with suppress(OSError):  # the other side was first
                self.connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Free what it holds."""
        self._reader.close()
        with suppress(OSError):  # an answer that nobody reads
            self._writer.close()
        self.connection.close()


def take_turns(
    owner: socket.socket, listener: socket.socket, ready: Answer
) -> Iterator[tuple[Sequence[TokenSequence], Reply]]:
    """Read batches of the owner and of guests, and say how each is answered, until the owner is gone.

    Args:
        owner: The way to who started this process.
        listener: Where guests come in.
        ready: What each guest is told first.
    """
    home = Line(owner)
    with _selecting() as selector:
        selector.register(listener, EVENT_READ)
        selector.register(owner, EVENT_READ, home)
        while True:
            for key, _ in selector.select():
                line: Line | None = key.data
                if line is None:
                    _admit(listener, ready, selector)
                elif batch := line.read():
                    yield batch, home.write if line is home else _begin(batch, line, home)
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
        line.write(ready)
    except OSError:
        line.close()
    else:
        selector.register(connection, EVENT_READ, line)


def _begin(batch: Sequence[TokenSequence], guest: Line, owner: Line) -> Reply:
    begun = Answer(Kind.BEGUN, BATCH.pack(len(batch), sum(map(len, batch))))
    owner.write(begun)
    guest.write_or_hang_up(begun)
    return partial(_answer, guest, owner)


def _answer(guest: Line, owner: Line, answer: Answer) -> None:
    guest.write_or_hang_up(answer)
    owner.write(Answer(Kind.ENDED, bytes([answer.kind]), answer.seconds, answer.gpu_memory))
