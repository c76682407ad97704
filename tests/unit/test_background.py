"""background: work that goes on while a context is open, and no longer."""

import asyncio

import pytest
from structlog.testing import capture_logs

from embedsvc import background
from embedsvc.background import running


class Work:
    """Goes on until it is told how to end."""

    def __init__(self):
        self.began = asyncio.Event()
        self.ends = asyncio.get_running_loop().create_future()
        self.cancelled = False

    async def run(self):
        self.began.set()
        try:
            await self.ends
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.fixture
async def work():
    return Work()


@pytest.fixture
def logs():
    with capture_logs() as entries:
        yield entries


async def test_it_goes_on_beside_the_block_and_is_over_after_it(work, logs):
    async with running(work.run):
        await work.began.wait()
        assert not work.cancelled
    assert work.cancelled
    assert logs == []


async def test_it_is_over_after_a_block_that_fails_too(work):
    async def block():
        async with running(work.run):
            await work.began.wait()
            raise RuntimeError("the block")

    with pytest.raises(RuntimeError, match="the block"):
        await block()
    assert work.cancelled


async def test_leaving_waits_for_it_to_clean_up():
    cleaned = asyncio.Event()
    began = asyncio.Event()

    async def tidy():
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    async with running(tidy):
        await began.wait()
    assert cleaned.is_set()


async def test_work_that_fails_is_told_of_and_begins_anew(logs, monkeypatch):
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    times = 0
    done = asyncio.Event()

    async def work():
        nonlocal times
        times += 1
        if times < 3:
            raise ValueError("a mistake of ours")
        done.set()
        await asyncio.Event().wait()

    async with running(work):
        await done.wait()
    assert [line["event"] for line in logs] == ["background work failed; it begins anew"] * 2
