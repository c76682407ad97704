"""signals: what asks a process to stop, and what ends it when its parent is gone.

In processes of their own.
"""

import asyncio
import os
import signal
import sys
from subprocess import PIPE, Popen

import pytest

from embedsvc.process import follow
from embedsvc.signals import stop

SECONDS = 20
STOPS = """
import asyncio, sys, uvloop
from embedsvc.signals import stop_on_signals

async def main():
    stopping = stop_on_signals()
    print("ready", flush=True)
    await stopping.wait()
    print("asked", flush=True)
    await asyncio.Event().wait()

(uvloop if "uvloop" in sys.argv else asyncio).run(main())
"""
HANGS_UP = """
import asyncio, sys, uvloop
from embedsvc.signals import hang_ups, ignore_hang_ups

async def main():
    asked = hang_ups()
    print("ready", flush=True)
    while True:
        await asked.wait()
        asked.clear()
        print("asked", flush=True)

async def deaf():
    ignore_hang_ups()
    print("ready", flush=True)
    await asyncio.Event().wait()

(uvloop if "uvloop" in sys.argv else asyncio).run(deaf() if "deaf" in sys.argv else main())
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
    command = [sys.executable, "-c", program, *arguments]
    process = await follow(Popen(command, stdout=PIPE))  # noqa: ASYNC220 - `follow` is for that
    assert await asyncio.wait_for(process.output.readline(), SECONDS) == b"ready\n"
    return process


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_asks_and_the_second_has_its_usual_effect(number, loop):
    process = await started(STOPS, loop)
    os.kill(process.pid, number)
    assert await process.output.readline() == b"asked\n"
    os.kill(process.pid, number)
    assert await asyncio.wait_for(process.wait(), SECONDS) == -number


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_sighup_asks_each_time_and_ends_nothing(loop):
    process = await started(HANGS_UP, loop)
    for _ in range(3):
        os.kill(process.pid, signal.SIGHUP)
        assert await process.output.readline() == b"asked\n"
    await stop(process, SECONDS)
    assert process.returncode == -signal.SIGTERM


async def test_sighup_may_do_nothing():
    process = await started(HANGS_UP, "deaf")
    os.kill(process.pid, signal.SIGHUP)
    await stop(process, SECONDS)
    assert process.returncode == -signal.SIGTERM


async def test_a_process_that_ends_when_asked_is_not_killed():
    process = await started("import signal; print('ready', flush=True); signal.pause()")
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
    assert await asyncio.wait_for(parent.output.read(), SECONDS) == b""
