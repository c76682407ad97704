"""A process that `subprocess` has started, followed on any event loop.

asyncio starts processes, too, but in the loop's own way: uvloop forks, which aborts now and then where gRPC
runs. `subprocess` does not fork if it can help it.
"""

import asyncio
from contextlib import suppress
from subprocess import Popen
from threading import Thread


class Process:
    """A process whose end can be awaited. Made by `follow`.

    Attributes:
        output: What it writes, where that is a pipe; else it has ended already.
    """

    def __init__(self, process: Popen[bytes], output: asyncio.StreamReader, end: asyncio.Future[int]) -> None:
        self.output = output
        self._process = process
        self._end = end

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """What `wait` returns; None while it runs."""
        return self._end.result() if self._end.done() else None

    async def wait(self) -> int:
        """Wait for its end; return its status, or the negative number of the signal that ended it."""
        return await asyncio.shield(self._end)

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it."""
        self._process.kill()


async def follow(process: Popen[bytes], limit: int = 1 << 16) -> Process:
    """Follow a process.

    Args:
        process: Who; its input is no pipe.
        limit: Bytes of a line of its output, at most.
    """
    loop = asyncio.get_running_loop()
    output, end = asyncio.StreamReader(limit), loop.create_future()
    # A thread of its own: one that others share might all be taken by processes.
    Thread(target=_wait, args=(process, loop, end), daemon=True).start()
    if process.stdout is None:
        output.feed_eof()
    else:
        try:
            await loop.connect_read_pipe(lambda: _Output(output), process.stdout)
        except BaseException:
            process.kill()  # nobody else knows of it yet
            raise
    return Process(process, output, end)


class _Output(asyncio.StreamReaderProtocol):
    def eof_received(self) -> bool:
        """Have the pipe closed at its end: asyncio does that anyway, and uvloop does if it is told."""
        super().eof_received()
        return False


def _wait(process: Popen[bytes], loop: asyncio.AbstractEventLoop, end: asyncio.Future[int]) -> None:
    status = process.wait()
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_resolve, end, status)


def _resolve(end: asyncio.Future[int], status: int) -> None:
    if not end.done():
        end.set_result(status)
