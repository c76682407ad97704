"""signals: what asks a process to stop, and what ends it when its parent is gone.

In processes of their own.
"""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE

import pytest

from embedsvc.signals import stop

SECONDS = 20
STOPS = """
import asyncio
from embedsvc.signals import stop_on_signals

async def main():
    stopping = stop_on_signals()
    print("ready", flush=True)
    await stopping.wait()
    print("asked", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
ORPHAN = """
import signal
from embedsvc.signals import die_with_parent
die_with_parent()
print("ready", flush=True)
signal.pause()
"""
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""


async def started(program, *arguments):
    """A process that is ready, and says so."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, *arguments), stdin=PIPE, stdout=PIPE
    )
    assert await asyncio.wait_for(process.stdout.readline(), SECONDS) == b"ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_asks_and_the_second_has_its_usual_effect(number):
    process = await started(STOPS)
    process.send_signal(number)
    assert await process.stdout.readline() == b"asked\n"
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), SECONDS) == -number


async def test_a_process_that_ends_when_asked_is_not_killed():
    process = await started("print('ready', flush=True); input()")
    await stop(process, SECONDS)
    assert process.returncode == -signal.SIGTERM
    await stop(process, SECONDS)


async def test_a_process_that_does_not_end_when_asked_is_killed():
    process = await started(STOPS)
    await stop(process, 0.1)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
async def test_a_process_dies_with_its_parent():
    parent = await started(PARENT, ORPHAN)
    parent.kill()
    await parent.wait()
    # They share standard output, which ends with the last of them.
    assert await asyncio.wait_for(parent.stdout.read(), SECONDS) == b""
