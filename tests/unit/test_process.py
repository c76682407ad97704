"""process: a process that subprocess has started, followed on asyncio's own loop and on uvloop."""

import asyncio
import signal
import sys
from subprocess import DEVNULL, PIPE, Popen

import pytest
import uvloop

from embedsvc.process import follow

SECONDS = 20


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request):
    return request.param


def python(program, output=PIPE):
    return Popen([sys.executable, "-c", program], stdin=DEVNULL, stdout=output)


def test_its_output_is_read_and_its_status_awaited_by_as_many_as_like(run):
    async def main():
        process = await follow(python("print('one'); print('two'); exit(3)"))
        assert process.returncode is None
        assert await process.output.readline() == b"one\n"
        assert await process.output.read() == b"two\n"
        assert await asyncio.gather(process.wait(), process.wait()) == [3, 3]
        assert process.returncode == 3

    run(main())


def test_who_stops_waiting_takes_nothing_from_the_others(run):
    async def main():
        process = await follow(python("import signal; print(flush=True); signal.pause()"))
        await process.output.readline()
        gone, stays = asyncio.create_task(process.wait()), asyncio.create_task(process.wait())
        await asyncio.sleep(0)
        gone.cancel()
        process.terminate()
        assert await asyncio.wait_for(stays, SECONDS) == -signal.SIGTERM
        process.kill()  # it is gone, which is no error

    run(main())


def test_without_a_pipe_there_is_no_output(run):
    async def main():
        process = await follow(python("print('lost')", DEVNULL))
        assert await process.output.read() == b""
        assert await asyncio.wait_for(process.wait(), SECONDS) == 0

    run(main())


def test_a_line_over_the_limit_is_refused(run):
    async def main():
        process = await follow(python("print('x' * 1000)"), limit=100)
        with pytest.raises(ValueError, match="limit"):
            await process.output.readline()
        await process.wait()

    run(main())
