"""cache.second: a level that does one thing and not another, and one that is slow with much."""

import asyncio
import time

import pytest
from cached import key_of, until
from structlog.testing import capture_logs

from embedsvc.cache.second import AT_ONCE, Second
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
        seconds: How long one look-up takes after the other.
    """

    name = "a level"

    def __init__(self):
        self.failing = {}
        self.seconds = []

    async def get_many(self, keys):
        await asyncio.sleep(self.seconds.pop(0) if self.seconds else 0)
        await self._do("get_many")
        return dict.fromkeys(keys, b"row")

    async def set_many(self, _rows, _seconds, _generation):
        await self._do("set_many")
        return 0

    async def generation(self):
        await self._do("generation")
        return ""

    async def measure(self):
        await self._do("measure")

    async def upkeep(self):
        await self._do("upkeep")

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


# Much at once


def keys(count):
    return [key_of(str(number)) for number in range(count)]


async def test_many_keys_are_looked_up_in_turns(second, level):
    level.seconds = [0.01] * 3
    found = await second.get_many(keys(3 * AT_ONCE))
    assert list(found) == [key.short for key in keys(3 * AT_ONCE)]
    assert level.seconds == []


async def test_of_many_what_came_in_time_is_found_and_the_others_take_the_level_from_nobody(
    second, level, logs
):
    for _ in range(5):
        level.seconds = [0, 0, 60, 0]
        began = time.monotonic()
        assert len(await second.get_many(keys(4 * AT_ONCE))) == 2 * AT_ONCE
        assert time.monotonic() - began < 1
        assert level.seconds == [0]
        level.seconds = []
        assert len(await second.get_many(keys(1))) == 1
    assert not second.is_away
    assert logs == []


async def test_where_the_first_few_do_not_come_it_is_left_alone(second, level, logs):
    for _ in range(3):
        level.seconds = [60]
        assert await second.get_many(keys(4 * AT_ONCE)) == {}
    assert second.is_away
    assert told(logs) == [AWAY]


@pytest.mark.parametrize("name", ["measure", "upkeep"])
async def test_a_defect_of_what_no_row_depends_on_is_told_of_once(second, level, logs, name):
    level.failing[name] = TypeError("unexpected keyword argument")
    for _ in range(3):
        assert await getattr(second, name)() is None
    assert not second.is_away
    assert [(line["log_level"], line["second"]) for line in logs] == [("error", "a level")]
