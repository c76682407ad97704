"""A file that is deleted, damaged, locked or cannot be made: nobody's request notices."""

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest
from cached import find, has, is_row_of, key_of, row_of, rows_of, until

from embedsvc.cache import sqlite as module
from embedsvc.cache.cache import open_cache
from embedsvc.cache.wire import encode
from embedsvc.config.cache import CacheSettings

AWAY = "the cache's second level, the file {path}, is away: texts that memory does not have are computed"
BACK = "the cache's second level is back"
FULL = "the cache's second level, the file {path}, takes no vectors: those that it has are found"
TAKES = "the cache's second level takes vectors again"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "cache.db"


@pytest.fixture
def settings(path):
    return CacheSettings(path=path, memory_bytes=0)


def told(logs, path):
    return [line["event"].replace(str(path), "{path}") for line in logs]


LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE state SET count = count")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another_process(path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", LOCK, path], **pipes) as process:
        assert process.stdout.readline() == b"locked\n"
        yield
        process.kill()


async def test_a_file_that_is_deleted_is_made_anew(cache, path, logs):
    for file in path.parent.iterdir():
        file.unlink()
    await cache.keep(rows_of("de"))
    await until(lambda: has(cache, "de"))
    assert await find(cache, "abc") == []
    assert path.exists()
    assert logs == []


@pytest.mark.parametrize("start", [0, 100, 20_000])
async def test_a_file_that_is_damaged_is_thrown_away(cache, path, logs, start):
    await cache.keep(rows_of([f"text {number}" for number in range(200)], dimensions=384))
    await until(cache._behind._idle.is_set)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom(path.stat().st_size - start))

    async def works():
        await cache.keep(rows_of("xyz"))
        return await has(cache, "xyz")

    await until(works)
    assert len(logs) <= 2  # away and back, or it was not noticed that it was


async def test_a_file_that_another_process_writes_to_is_read(path, settings, metrics, logs, monkeypatch):
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    async with open_cache(settings, None, metrics) as cache:
        await cache.keep(rows_of("abc"))
        await until(lambda: has(cache, "abc"))
        with locked_by_another_process(path):
            await cache.keep(rows_of("d"))
            for _ in range(10):
                assert await find(cache, "abcd") == ["a", "b", "c"]
            await until(lambda: logs)
            assert told(logs, path) == [FULL]
        await until(lambda: has(cache, "abcd"))
        await until(lambda: told(logs, path) == [FULL, TAKES])


async def test_a_file_that_is_not_ours_is_left_alone_and_told_of_once(path, settings, metrics, logs):
    path.parent.mkdir()
    path.write_bytes(b"my thesis, the only copy\n" * 1000)
    before = path.read_bytes()
    async with open_cache(settings, None, metrics) as cache:
        for _ in range(10):
            await cache.keep(rows_of("abc"))
            assert await find(cache, "abc") == []
        await until(lambda: logs)
        await asyncio.sleep(1)
        assert told(logs, path) == [AWAY]
        assert "not a database" in logs[0]["error"]
    assert path.read_bytes() == before


async def test_a_folder_that_cannot_be_made_is_told_of_once_and_used_when_it_can(
    path, settings, metrics, logs, counts
):
    path.parent.touch()
    async with open_cache(settings, None, metrics) as cache:
        for _ in range(10):
            await cache.keep(rows_of("abc"))
            assert await find(cache, "abc") == []
        await until(lambda: counts("second_level_away") == 1)
        assert told(logs, path) == [AWAY]
        path.parent.unlink()
        await until(lambda: has(cache, "abc"))
        assert told(logs, path) == [AWAY, BACK]


async def test_rows_that_are_garbage_are_misses(cache, path, counts, logs):
    swapped = encode(key_of("b"), row_of("b"))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for text, junk in {"a": b"junk", "b": b"", "c": swapped}.items():
            db.execute("UPDATE rows SET row = ? WHERE key = ?", (junk, key_of(text).short))
    assert await find(cache, "abc") == []
    assert counts("corrupt_rows_total") == 2
    assert logs == []


async def test_a_full_file_goes_on_with_the_last_rows(settings, metrics, path, logs):
    async with open_cache(settings.model_copy(update={"disk_bytes": 2**20}), None, metrics) as cache:
        for first in range(0, 4000, 100):
            await cache.keep(rows_of([str(number) for number in range(first, first + 100)], dimensions=384))
            await until(cache._behind._idle.is_set)
        last = [str(number) for number in range(3900, 4000)]
        rows = await cache.fetch([key_of(text) for text in last])
        assert all(is_row_of(row, text, 384) for row, text in zip(rows, last, strict=True))
    assert path.stat().st_size <= 2**20
    assert logs == []


async def test_whatever_becomes_of_it_under_load_no_vector_is_another_texts(cache, path):
    """Deleted and damaged, while callers come and leave."""
    chance = random.Random(6)
    texts = [f"text {number}" for number in range(60)]
    stop = asyncio.Event()
    found = 0

    async def call():
        nonlocal found
        while not stop.is_set():
            some = chance.sample(texts, 12)
            here = await find(cache, some)
            found += len(here)
            await cache.keep(rows_of(set(some) - set(here)))
            await asyncio.sleep(0)

    async def leave():
        while not stop.is_set():
            asking = asyncio.create_task(find(cache, chance.sample(texts, 12)))
            await asyncio.sleep(chance.random() * 0.004)
            asking.cancel()
            (ended,), _ = await asyncio.wait([asking])
            assert ended.cancelled() or ended.result() is not None

    async def hurt():
        for _ in range(3):
            await works()
            with path.open("r+b") as file:
                file.seek(chance.randrange(path.stat().st_size))
                file.write(chance.randbytes(40_000))
            await works()
            for file in path.parent.iterdir():
                file.unlink(missing_ok=True)
        await works()
        stop.set()

    async def works():
        enough = found + 200
        await until(lambda: found > enough)

    await asyncio.gather(hurt(), *(call() for _ in range(8)), *(leave() for _ in range(4)))
