"""cache.cache: two levels as one."""

import asyncio
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from cached import DAY, SPACE, is_row_of, key_of, row_of, rows_of, until
from structlog.testing import capture_logs

from embedsvc.cache import cache as module
from embedsvc.cache.cache import open_cache
from embedsvc.cache.memory import size_of
from embedsvc.cache.row import Key
from embedsvc.cache.second import open_level
from embedsvc.config.cache import CacheSettings


@pytest.fixture
def settings(tmp_path):
    return CacheSettings(path=tmp_path / "cache.db", wait_seconds=5)


@pytest.fixture
async def cache(settings, metrics):
    async with open_cache(settings, None, metrics) as opened:
        yield opened


@pytest.fixture
def written(settings):
    """Waits until the second level has so many rows."""

    async def wait(count):
        async with open_level(settings, None) as level:

            async def has():
                return (await level.measure()).rows == count

            await until(has)

    return wait


def keys(texts):
    return [key_of(text) for text in texts]


def found(rows, texts):
    """The texts that were found; what was found must be theirs."""
    pairs = [(row, text) for row, text in zip(rows, texts, strict=True) if row]
    assert all(is_row_of(row, text) for row, text in pairs)
    return [text for _, text in pairs]


async def test_what_is_kept_is_in_memory_at_once(cache):
    await cache.keep(rows_of("abc"))
    assert found(cache.recall(keys("cxa")), "cxa") == ["c", "a"]


async def test_and_in_the_second_level_soon_where_it_outlives_the_process(cache, settings, metrics, written):
    await cache.keep(rows_of("abc"))
    await written(3)
    async with open_cache(settings, None, metrics) as other:
        assert found(other.recall(keys("abc")), "abc") == []
        assert found(await other.fetch(keys("cxab")), "cxab") == ["c", "a", "b"]
        assert found(other.recall(keys("cxab")), "cxab") == ["c", "a", "b"]


async def test_what_is_left_at_the_end_is_written(settings, metrics):
    async with open_cache(settings, None, metrics) as cache:
        await cache.keep(rows_of(str(number) for number in range(1000)))
    async with open_cache(settings, None, metrics) as cache:
        texts = [str(number) for number in range(1000)]
        assert found(await cache.fetch(keys(texts)), texts) == texts


async def test_a_text_that_is_asked_for_twice_is_found_twice(cache, metrics, settings, written):
    await cache.keep(rows_of("ab"))
    await written(2)
    async with open_cache(settings, None, metrics) as other:
        assert found(await other.fetch(keys("abba")), "abba") == list("abba")


async def test_another_text_with_the_same_short_key_is_not_found(cache, settings, metrics, written):
    await cache.keep(rows_of("a"))
    await written(1)
    twin = Key(key_of("a")[:12] + key_of("b")[12:])
    assert cache.recall([twin]) == [None]
    async with open_cache(settings, None, metrics) as other:
        assert await other.fetch([twin]) == [None]
        both = await other.fetch([key_of("a"), twin])
        assert found(both[:1], "a") == ["a"]
        assert both[1] is None


@pytest.mark.parametrize("other", [{"space": "model@another"}, {"prompt": "query: "}, {"scope": "bob"}])
async def test_a_text_of_another_space_is_not_found(cache, settings, metrics, written, other):
    await cache.keep(rows_of("a"))
    await written(1)
    asked = [key_of("a", replace(SPACE, **other))]
    assert cache.recall(asked) == [None]
    async with open_cache(settings, None, metrics) as another:
        assert await another.fetch(asked) == [None]


async def test_many_rows_are_read_without_holding_the_event_loop_up(settings, metrics):
    texts = [f"text {number}" for number in range(2048)]
    async with open_cache(settings, None, metrics) as cache:
        await cache.keep(rows_of(texts))
    async with open_cache(settings, None, metrics) as cache:
        assert found(await cache.fetch(keys(texts)), texts) == texts


async def test_many_rows_are_looked_over_without_holding_the_event_loop_up(metrics):
    threads = []

    class Watched(np.ndarray):
        def __matmul__(self, other):
            threads.append(threading.current_thread())
            return super().__matmul__(other)

    vector = np.ones(8, np.float32).view(Watched)
    many = [(key, replace(row, vector=vector)) for key, row in rows_of(map(str, range(2048)))]
    async with open_cache(CacheSettings(second="none"), None, metrics) as cache:
        await cache.keep(many)
        assert None not in cache.recall([key for key, _ in many])
    assert len(threads) == len(many)
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
async def test_a_vector_that_is_not_of_numbers_is_not_kept(cache, bad):
    vector = np.array([1, bad, 0], np.float32)
    await cache.keep([(key_of("a"), replace(row_of("a"), vector=vector)), *rows_of("b")])
    assert found(cache.recall(keys("ab")), "ab") == ["b"]


async def test_rows_live_as_long_as_was_set(metrics, tmp_path):
    settings = CacheSettings(path=tmp_path / "cache.db", ttl_days=2, scope="key")
    async with open_cache(settings, None, metrics) as cache:
        assert (cache.ttl, cache.scope) == (2 * DAY, "key")
        await cache.keep(rows_of("a", expires_in=0.05) + rows_of("b"))
        await asyncio.sleep(0.05)
        assert found(cache.recall(keys("ab")), "ab") == ["b"]
        assert cache.recall(keys("a")) == [None]


async def test_turned_off_there_is_none(metrics, tmp_path):
    settings = CacheSettings(enabled=False, path=tmp_path / "cache.db")
    async with open_cache(settings, None, metrics) as cache:
        assert cache is None
    assert list(tmp_path.iterdir()) == []


async def test_memory_alone_will_do(metrics):
    async with open_cache(CacheSettings(second="none"), None, metrics) as cache:
        await cache.keep(rows_of("a"))
        assert found(cache.recall(keys("ab")), "ab") == ["a"]
        assert await cache.fetch(keys("ab")) == [None, None]


async def test_the_second_level_alone_will_do(settings, metrics, written):
    async with open_cache(settings.model_copy(update={"memory_bytes": 0}), None, metrics) as cache:
        await cache.keep(rows_of("a"))
        await written(1)
        assert cache.recall(keys("a")) == [None]
        assert found(await cache.fetch(keys("a")), "a") == ["a"]


# Cleared


async def test_after_it_was_cleared_no_server_has_anything(cache, settings, metrics, written):
    async with open_cache(settings, None, metrics) as other, open_level(settings, None) as level:
        for server in (cache, other):
            await server.keep(rows_of("abc"))
        await written(3)
        with capture_logs() as logs:
            began = time.monotonic()
            await level.clear()
            await until(lambda: not any(cache.recall(keys("abc")) + other.recall(keys("abc"))))
            assert time.monotonic() - began < 2
        assert [line["event"] for line in logs] == ["the cache was cleared"] * 2
        assert await cache.fetch(keys("abc")) == [None] * 3
        await cache.keep(rows_of("a"))
        await written(1)
        assert found(await other.fetch(keys("a")), "a") == ["a"]
        await asyncio.sleep(1.5)
        assert found(cache.recall(keys("a")), "a") == ["a"]  # it is not cleared twice


async def test_what_waits_while_it_is_cleared_does_not_come_back(cache, settings, written):
    async with open_level(settings, None) as level:
        await until(lambda: cache._second._seen is not None)
        texts = [f"text {number}" for number in range(3000)]
        await cache.keep(rows_of(texts))
        await until(lambda: len(cache._behind._waiting) < len(texts))
        await level.clear()
        await until(cache._behind._idle.is_set)
        assert (await level.measure()).rows == 0
        await until(lambda: not any(cache.recall(keys(texts))))
        await cache.keep(rows_of("a"))
        await written(1)


async def test_what_is_being_read_while_it_is_cleared_is_not_in_memory_afterwards(settings, metrics, written):
    async with open_cache(settings, None, metrics) as other:
        await other.keep(rows_of("abc"))
        await written(3)
    async with open_cache(settings, None, metrics) as cache:
        reading = asyncio.create_task(cache.fetch(keys("abc")))
        await asyncio.sleep(0)
        cache.forget()
        assert found(await reading, "abc") == list("abc")
        assert cache.recall(keys("abc")) == [None] * 3


async def test_a_start_after_it_was_cleared_is_like_any_other(settings, metrics, written):
    async with open_level(settings, None) as level:
        await level.clear()
    with capture_logs() as logs:
        async with open_cache(settings, None, metrics) as cache:
            await asyncio.sleep(0.2)
            await cache.keep(rows_of("a"))
            await asyncio.sleep(1.5)
            assert found(cache.recall(keys("a")), "a") == ["a"]
    assert logs == []


# What is shown


async def test_the_series_say_what_both_levels_hold(settings, metrics, counts, monkeypatch):
    monkeypatch.setattr(module, "UPKEEP_SECONDS", 0.05)
    async with open_cache(settings, None, metrics) as cache:
        await cache.keep(rows_of("abc"))
        await until(lambda: counts("rows", level="second") == 3)
        await until(lambda: counts("bytes", level="second") == settings.path.stat().st_size)
        assert counts("rows", level="memory") == 3
        assert counts("bytes", level="memory") == 3 * size_of(row_of("a"))
        await cache.fetch(keys("abc"))
        assert counts("seconds_count", operation="get") == 1
        assert counts("seconds_count", operation="set") == 1
        assert counts("second_level_away") == 0


async def test_processes_show_their_part_of_what_they_share(settings, metrics, counts, monkeypatch):
    monkeypatch.setattr(module, "UPKEEP_SECONDS", 0.05)
    async with open_cache(settings, None, metrics, processes=4) as cache:
        await cache.keep(rows_of("abcdefgh"))
        await until(lambda: counts("rows", level="second") == 2)


async def test_rows_that_had_to_make_room_are_counted(settings, metrics, counts):
    async with open_cache(settings.model_copy(update={"disk_bytes": 1}), None, metrics) as cache:
        for first in range(0, 300, 100):
            await cache.keep(rows_of([str(number) for number in range(first, first + 100)], dimensions=384))
            await until(cache._behind._idle.is_set)
    assert counts("evictions_total", level="second") == 200
