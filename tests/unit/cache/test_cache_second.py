"""cache.second: a level that does one thing and not another, and one that is slow with much."""

import asyncio

import pytest
from cached import until
from structlog.testing import capture_logs

from embedsvc.cache.second import Second
from embedsvc.config.cache import CacheSettings
from embedsvc.store.protocols import StoreAwayError

AWAY = "the cache's second level, a level, is away: texts that memory does not have are computed"
BACK = "the cache's second level is back"
FULL = "the cache's second level, a level, takes no vectors: those that it has are found"
TAKES = "the cache's second level takes vectors again"


class Level:
    """A level that fails as it is told.

    Attributes:
        failing: What fails, by the name of the method.
    """

    name = "a level"

    def __init__(self):
        self.failing = {}

    async def get_many(self, keys):
        await self._do("get_many")
        return dict.fromkeys(keys, b"row")

    async def set_many(self, _rows, _seconds):
        await self._do("set_many")
        return 0

    async def generation(self):
        await self._do("generation")
        return ""

    async def _do(self, name):
        if error := self.failing.get(name):
            raise error


@pytest.fixture
def level():
    return Level()


@pytest.fixture
def second(level, metrics):
    return Second(level, CacheSettings(wait_seconds=0.1), metrics)


@pytest.fixture
def logs():
    with capture_logs() as lines:
        yield lines


def told(logs):
    return [line["event"] for line in logs]


async def write(second):
    try:
        await second.set_many({"key": b"row"})
    except StoreAwayError:
        return False
    return True


async def test_a_level_that_is_read_and_cannot_be_written_says_so_once(second, level, logs):
    level.failing["set_many"] = StoreAwayError("disk I/O error")
    for _ in range(150):
        assert not await write(second)
        assert await second.generation() == ""
        await asyncio.sleep(0.01)
    assert told(logs) == [FULL]
    level.failing.clear()
    await until(lambda: write(second))
    assert told(logs) == [FULL, TAKES]


async def test_of_a_level_that_is_away_it_goes_without_saying_that_it_takes_no_vectors(second, level, logs):
    level.failing = dict.fromkeys(["generation", "set_many"], StoreAwayError("gone"))
    for _ in range(5):
        await second.generation()
    for _ in range(5):
        await write(second)
    assert told(logs) == [AWAY]
    level.failing.clear()

    async def answers():
        return await second.generation() == ""

    await until(answers)
    await until(lambda: write(second))
    assert told(logs) == [AWAY, BACK]
