"""keeping: what is lost is started again, and pauses grow until it has proved itself."""

import asyncio

import pytest

from embedsvc import keeping as module
from embedsvc.keeping import keeping

SECONDS = 10
PAUSE = 0.02


class Lives:
    """A life that ends as often as it is told to; and what was told of that."""

    def __init__(self, ends, *, always_ready=True):
        self.ends = ends
        self.always_ready = always_ready
        self.told = []
        self.times = []
        self.over = asyncio.Event()

    async def live(self, ready):
        self.times.append(asyncio.get_running_loop().time())
        begun = len(self.times)
        if self.always_ready or begun == 1:
            ready()
        if begun <= self.ends:
            raise OSError(f"end {begun}")
        self.over.set()
        await asyncio.Event().wait()

    def lost(self, error):
        self.told.append(str(error))

    async def kept_to_the_end(self):
        async with keeping([self.live], self.lost):
            await asyncio.wait_for(self.over.wait(), SECONDS)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", PAUSE)


async def test_what_ends_is_started_again_and_told_of_after_pauses_that_grow():
    lives = Lives(ends=4)
    await lives.kept_to_the_end()
    assert lives.told == ["end 1", "end 2", "end 3", "end 4"]
    assert lives.times[4] - lives.times[3] >= PAUSE * 2**3


async def test_after_a_long_life_it_is_started_again_at_once(monkeypatch):
    monkeypatch.setattr(module, "LONG_LIFE", 0.0)
    monkeypatch.setattr(module, "FIRST_PAUSE", SECONDS)
    lives = Lives(ends=4)
    await lives.kept_to_the_end()
    assert lives.told == ["end 1", "end 2", "end 3", "end 4"]


async def test_what_never_gets_ready_again_has_no_long_life(monkeypatch):
    monkeypatch.setattr(module, "LONG_LIFE", 0.0)
    lives = Lives(ends=4, always_ready=False)
    await lives.kept_to_the_end()
    assert lives.times[4] - lives.times[3] >= PAUSE * 2**2


async def test_a_first_start_that_fails_is_raised_and_ends_the_others():
    ended = []

    async def fail(ready):
        raise OSError("no such weights")

    async def last(ready):
        ready()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(OSError, match="no such weights"):
        async with keeping([last, fail], print):
            raise AssertionError("it began")
    assert ended == [True]
