"""Signals: what asks a process to stop or to read anew, and what ends it when its parent is gone."""

import asyncio
import ctypes
import signal
import sys

from embedsvc.process import Process

DIE_WITH_PARENT = 1
"""prctl(2): PR_SET_PDEATHSIG."""


def stop_on_signals() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; the next one has its usual effect."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        stopping.set()
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        loop.add_signal_handler(number, stop)
    return stopping


def hang_ups() -> asyncio.Event:
    """Return an event that SIGHUP sets, each time; it has no other effect any more."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    return asked


def ignore_hang_ups() -> None:
    """Have SIGHUP do nothing."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def stop(process: Process, seconds: float) -> None:
    """Ask a process to stop, and kill it when it has had so many seconds for it."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(seconds):  # wait_for of Python 3.11 may swallow a cancellation
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it is gone; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
