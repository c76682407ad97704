"""The second level's protocol: a file and a Redis do the same."""

import asyncio
import time

import pytest
from cached import until

from embedsvc.cache.second import open_level
from embedsvc.config.cache import CacheSettings

ROWS = {f"key-{number:012}": bytes([number]) * (number + 1) for number in range(50)}


@pytest.fixture(params=["sqlite", "redis"])
def settings(request, tmp_path):
    if request.param == "redis":
        return CacheSettings(second="redis", url=request.getfixturevalue("redis").url)
    return CacheSettings(path=tmp_path / "state" / "cache.db")


@pytest.fixture
async def level(settings):
    async with open_level(settings, None) as opened:
        yield opened


@pytest.fixture
async def other(settings):
    """The same level as another server has it."""
    async with open_level(settings, None) as opened:
        yield opened


async def test_where_nothing_was_kept_nothing_is_found(level):
    assert await level.get_many(list(ROWS)) == {}
    measured = await level.measure()
    assert measured.rows == 0


async def test_what_is_kept_is_found_as_it_was_and_by_others_too(level, other):
    await level.set_many(ROWS, 60)
    assert await level.get_many([*ROWS, "another"]) == ROWS
    assert await other.get_many(list(ROWS)[3:5]) == dict(list(ROWS.items())[3:5])


async def test_a_row_takes_the_place_of_the_one_before(level):
    await level.set_many(ROWS, 60)
    await level.set_many({"key-000000000007": b"new", "another": b"one"}, 60)
    assert await level.get_many(list(ROWS)) == ROWS | {"key-000000000007": b"new"}
    assert (await level.measure()).rows == len(ROWS) + 1


async def test_a_request_of_the_most_inputs_is_one_look_up(level):
    rows = {f"{number:016}": b"row" for number in range(2048)}
    await level.set_many(rows, 60)
    assert await level.get_many(list(rows)) == rows


async def test_more_keys_than_a_database_takes_parameters_are_one_look_up(level):
    await level.set_many(ROWS, 60)
    assert await level.get_many([*map(str, range(40_000)), *ROWS]) == ROWS


async def test_what_has_expired_goes(level):
    await level.set_many(ROWS, 0.05)
    await level.set_many({"another": b"one"}, 60)

    async def is_gone():
        await level.upkeep()
        return (await level.measure()).rows == 1

    await until(is_gone)
    assert await level.get_many([*ROWS, "another"]) == {"another": b"one"}


async def test_cleared_it_has_nothing_and_another_generation_which_others_see(level, other):
    assert await level.generation() == await other.generation() == ""
    await level.set_many(ROWS, 60)
    assert await other.clear() == len(ROWS)
    assert await level.get_many(list(ROWS)) == {}
    assert (await level.measure()).rows == 0
    first = await level.generation()
    assert first
    assert first == await other.generation()
    assert await other.clear() == 0
    assert await level.generation() not in ("", first)


async def test_what_is_kept_after_it_was_cleared_is_there(level):
    await level.set_many(ROWS, 60)
    await level.clear()
    await level.set_many(ROWS, 60)
    assert await level.get_many(list(ROWS)) == ROWS


async def test_rows_of_before_it_was_cleared_are_not_kept(level, other):
    before = await level.generation()
    assert await level.set_many(ROWS, 60, before) == 0
    assert await level.get_many(list(ROWS)) == ROWS
    await other.clear()
    assert await level.set_many(ROWS, 60, before) == 0
    assert await level.get_many(list(ROWS)) == {}
    assert (await level.measure()).rows == 0
    await level.set_many(ROWS, 60, await level.generation())
    assert await level.get_many(list(ROWS)) == ROWS


async def test_one_that_was_never_cleared_or_has_lost_all_takes_rows_of_any_generation(level):
    await level.set_many(ROWS, 60, "of another life")
    assert await level.get_many(list(ROWS)) == ROWS


async def test_it_outlives_who_uses_it(settings):
    async with open_level(settings, None) as level:
        await level.set_many(ROWS, 60)
    async with open_level(settings, None) as level:
        assert await level.get_many(list(ROWS)) == ROWS


async def test_many_at_once_lose_nothing(level, other):
    parts = [dict(list(ROWS.items())[at : at + 5]) for at in range(0, len(ROWS), 5)]
    await asyncio.gather(*(one.set_many(part, 60) for part in parts for one in (level, other)))
    found = await asyncio.gather(*(level.get_many(list(part)) for part in parts))
    assert found == parts
    assert (await level.measure()).rows == len(ROWS)


async def test_who_gives_up_takes_nothing_from_others_and_no_answer_is_anothers(level):
    """An answer that nobody waited for must not be taken for the next question's."""
    await level.set_many(ROWS, 60)
    keys = list(ROWS)
    for at in range(200):
        asking = asyncio.create_task(level.get_many(keys[at % 10 : at % 10 + 5]))
        for _ in range(at % 17):
            await asyncio.sleep(0)
        asking.cancel()
        key = keys[at % len(keys)]
        assert await level.get_many([key]) == {key: ROWS[key]}
        await asyncio.wait([asking])


async def test_it_says_how_much_there_is_and_how_much_there_may_be(level, settings):
    before = time.time()
    await level.set_many(ROWS, 60)
    measured = await level.measure()
    assert measured.rows == len(ROWS)
    assert measured.bytes > sum(map(len, ROWS.values()))
    if settings.second == "sqlite":
        assert measured.bound == settings.disk_bytes
        assert before + 60 <= measured.oldest <= measured.newest <= time.time() + 60
    else:
        assert measured.bound is None


async def test_its_name_says_what_and_where_it_is(level, settings):
    place = str(settings.path) if settings.second == "sqlite" else settings.url
    assert place in level.name
