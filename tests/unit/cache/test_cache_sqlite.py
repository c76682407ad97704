"""cache.sqlite: a file that is bounded, mended where it is ours, and left alone where it is not."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import AsyncExitStack, ExitStack, closing, suppress

import pytest

from embedsvc.cache import sqlite as module
from embedsvc.cache.sqlite import open_sqlite_level
from embedsvc.cache.sqlite_file import APPLICATION
from embedsvc.config.cache import CacheSettings
from embedsvc.store.protocols import StoreAwayError, StoreRefusedError

ROW_BYTES = 1600
MEBIBYTE = 2**20


def rows(first, count=100, size=ROW_BYTES):
    return {f"{number:016}": os.urandom(size) for number in range(first, first + count)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "cache.db"


@pytest.fixture
async def level(path):
    async with open_sqlite_level(CacheSettings(path=path)) as opened:
        yield opened


def raw(path):
    return closing(sqlite3.connect(path, isolation_level=None))


def size_of(path):
    return path.stat().st_size


def journal_of(path):
    real = path.resolve()
    return real.with_name(f"{real.name}-wal")


# The file


async def test_it_is_made_when_it_is_first_needed_for_nobody_else_to_read(level, path):
    assert not path.exists()
    assert await level.get_many(["key"]) == {}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_it_says_what_it_is_and_can_be_read_while_it_is_written(level, path):
    await level.set_many(rows(0), 60)
    with raw(path) as db:
        pragmas = ("application_id", "user_version", "journal_mode", "auto_vacuum", "page_size")
        found = [db.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]
    assert found == [APPLICATION, 1, "wal", 2, 16_384]


MAKE = """
import asyncio, sys
from pathlib import Path
from embedsvc.cache.sqlite import open_sqlite_level
from embedsvc.config.cache import CacheSettings

async def main():
    sys.stdin.read(1)
    for number in range(10):
        async with open_sqlite_level(CacheSettings(path=Path(sys.argv[1]) / f"{number}.db")) as level:
            await level.set_many({sys.argv[2]: b"row"}, 60)

asyncio.run(main())
"""


def test_processes_that_make_the_same_file_at_once_lose_nothing(tmp_path):
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", MAKE, tmp_path, str(number)], stdin=subprocess.PIPE)
            )
            for number in range(4)
        ]
        for process in processes:
            process.stdin.write(b" ")
            process.stdin.flush()
    assert [process.returncode for process in processes] == [0] * 4
    for number in range(10):
        with raw(tmp_path / f"{number}.db") as db:
            assert sorted(db.execute("SELECT key FROM rows")) == [(key,) for key in "0123"]


# Its bound


async def test_the_file_stays_within_its_bound_and_the_oldest_go_first(path):
    bound = 4 * MEBIBYTE
    async with open_sqlite_level(CacheSettings(path=path, disk_bytes=bound)) as level:
        gone = 0
        for first in range(0, 10_000, 100):
            gone += await level.set_many(rows(first), 60)
            assert size_of(path) <= bound
        measured = await level.measure()
        left = await level.get_many([f"{number:016}" for number in range(10_000)])
    assert measured.bytes == size_of(path) > 0.8 * bound
    assert measured.rows == len(left) == 10_000 - gone
    assert sorted(left) == [f"{number:016}" for number in range(gone, 10_000)]
    assert len(left) * ROW_BYTES > 0.75 * bound


@pytest.mark.parametrize("size", [1, 400, 3_200, 4_160, 20_000, 300_000])
async def test_it_does_so_whatever_the_size_of_rows(path, size):
    bound = 2 * MEBIBYTE
    batch = max(1, min(100, MEBIBYTE // 4 // size))
    async with open_sqlite_level(CacheSettings(path=path, disk_bytes=bound)) as level:
        for first in range(0, max(2000, 60 * batch) if size < 1000 else 30 * batch, batch):
            await level.set_many(rows(first, batch, size), 60)
            assert size_of(path) <= bound
        last = [f"{number:016}" for number in range(first, first + batch)]
        assert sorted(await level.get_many(last)) == last


async def test_a_lower_bound_holds_after_a_while(path):
    async with open_sqlite_level(CacheSettings(path=path)) as level:
        await level.set_many(rows(0, 5_000), 60)
    assert size_of(path) > 8 * MEBIBYTE
    async with open_sqlite_level(CacheSettings(path=path, disk_bytes=6 * MEBIBYTE)) as level:
        for first in range(5_000, 5_300, 50):
            await level.set_many(rows(first, 50), 60)
        while (await level.measure()).bytes > 6 * MEBIBYTE:
            await level.upkeep()
        assert (await level.measure()).rows > 2_000
    with raw(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert size_of(path) <= 6 * MEBIBYTE


async def test_a_bound_that_is_too_low_for_anything_keeps_the_last_rows(path):
    async with open_sqlite_level(CacheSettings(path=path, disk_bytes=1)) as level:
        await level.set_many(rows(0), 60)
        await level.set_many(rows(100), 60)
        assert (await level.measure()).rows == 100


async def test_cleared_nothing_is_left_on_disk(level, path):
    await level.set_many(rows(0, 10_000), 60)
    assert size_of(path) + size_of(journal_of(path)) > 16 * MEBIBYTE
    await level.clear()
    assert size_of(path) + size_of(journal_of(path)) < MEBIBYTE


async def test_what_has_expired_makes_room_on_disk(level, path):
    await level.set_many(rows(0, 10_000), 0.001)
    before = (await level.measure()).bytes
    while (await level.measure()).rows:
        await level.upkeep()
    await level.upkeep()
    assert (await level.measure()).bytes < before / 2


# What may become of it


async def test_a_file_that_is_deleted_is_made_anew(level, path):
    await level.set_many(rows(0), 60)
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(StoreAwayError, match="No such file"):
        await level.get_many(list(rows(0)))
    assert await level.get_many(list(rows(0))) == {}
    await level.set_many(rows(0), 60)
    assert (await level.measure()).rows == 100


async def test_a_folder_that_is_deleted_is_made_anew(level, path):
    await level.set_many(rows(0), 60)
    shutil.rmtree(path.parent)
    with pytest.raises(StoreAwayError):
        await level.set_many(rows(0), 60)
    await level.set_many(rows(0), 60)
    assert (await level.measure()).rows == 100


def spoil(path, start=0, end=None):
    """Write something else over a part of a file."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * ((end or size_of(path)) - start))


async def used(level, path):
    """Fill it, and have all that is in the journal in the file."""
    await level.set_many(rows(0, 2_000), 60)
    with raw(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def test_a_file_that_is_damaged_while_it_is_used_is_thrown_away(level, path):
    await used(level, path)
    spoil(path)
    with pytest.raises(StoreAwayError, match=r"malformed|not a database"):
        await level.get_many(list(rows(0)))
    assert await level.get_many(list(rows(0))) == {}
    assert await level.set_many(rows(0), 60) == 0
    assert len(await level.get_many(list(rows(0)))) == 100


async def test_a_file_that_was_damaged_before_is_thrown_away(path):
    async with open_sqlite_level(CacheSettings(path=path)) as level:
        await used(level, path)
    spoil(path, start=100)
    async with open_sqlite_level(CacheSettings(path=path)) as level:
        try:
            await level.get_many(list(rows(0)))
        except StoreAwayError as error:
            assert "malformed" in str(error)  # noqa: PT017 - it may be noticed at once, or when it is opened
        await level.set_many(rows(0), 60)
        assert len(await level.get_many(list(rows(0)))) == 100


async def test_only_one_of_those_that_notice_throws_it_away(level, path):
    await used(level, path)
    async with open_sqlite_level(CacheSettings(path=path)) as other:
        await other.get_many(["key"])
        spoil(path)
        failed = await asyncio.gather(
            *(one.get_many(list(rows(0))) for one in (level, other)), return_exceptions=True
        )
        assert all(isinstance(error, StoreAwayError) for error in failed)
        await level.set_many(rows(0), 60)
        assert len(await other.get_many(list(rows(0)))) == 100


@pytest.mark.parametrize("loss", ["damaged", "deleted"])
async def test_who_lets_go_of_the_old_file_takes_nothing_from_the_new_one(path, loss):
    async with AsyncExitStack() as stack:
        settings = CacheSettings(path=path)
        levels = [await stack.enter_async_context(open_sqlite_level(settings)) for _ in range(3)]
        for number, level in enumerate(levels):
            await level.set_many(rows(number * 1000, 700), 60)
            await level.get_many(["key"])
        if loss == "damaged":
            spoil(path)
        else:
            for file in path.parent.iterdir():
                file.unlink()
        for number, level in enumerate(levels):
            with suppress(StoreAwayError):
                await level.get_many(list(rows(0)))
            await level.set_many({f"key-{number}": b"row"}, 60)
        for level in levels:
            assert sorted(await level.get_many(["key-0", "key-1", "key-2"])) == ["key-0", "key-1", "key-2"]
        assert journal_of(path).exists()
    names = {file.name for file in path.parent.iterdir()}
    assert names == {"cache.db", "cache.db.lock", path.resolve().name}


async def test_what_a_lost_link_led_to_does_not_stay(level, path):
    await level.set_many(rows(0), 60)
    old = path.resolve()
    path.unlink()
    with pytest.raises(StoreAwayError):
        await level.get_many(["key"])
    await level.set_many(rows(0), 60)
    assert not old.exists()
    assert (await level.measure()).rows == 100


@pytest.fixture
def thesis(path):
    path.parent.mkdir()
    path.write_bytes(b"my thesis, the only copy\n" * 1000)
    return path


@pytest.fixture
def ledger(path):
    path.parent.mkdir()
    with raw(path) as db:
        db.execute("CREATE TABLE money (amount INTEGER)")
    return path


@pytest.fixture
def later(path):
    path.parent.mkdir()
    with raw(path) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute("PRAGMA user_version = 2")
    return path


@pytest.mark.parametrize("others", ["thesis", "ledger", "later"])
async def test_a_file_that_is_not_ours_is_left_alone(level, request, others):
    file = request.getfixturevalue(others)
    before = file.read_bytes()
    for _ in range(3):
        with pytest.raises(StoreAwayError, match=r"not a database|not a cache of this release"):
            await level.get_many(["key"])
        with pytest.raises(StoreAwayError, match=r"not a database|not a cache of this release"):
            await level.set_many(rows(0), 60)
    assert file.read_bytes() == before


async def test_a_folder_that_cannot_be_is_told_of_and_used_when_it_can(tmp_path):
    (tmp_path / "state").touch()
    async with open_sqlite_level(CacheSettings(path=tmp_path / "state" / "cache.db")) as level:
        with pytest.raises(StoreAwayError):
            await level.get_many(["key"])
        (tmp_path / "state").unlink()
        assert await level.get_many(["key"]) == {}


async def test_while_another_process_writes_reading_goes_on_and_writing_is_refused_after_a_while(
    path, monkeypatch
):
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    async with open_sqlite_level(CacheSettings(path=path)) as level:
        await level.set_many(rows(0), 60)
        with raw(path) as db:
            db.execute("BEGIN IMMEDIATE")
            assert len(await level.get_many(list(rows(0)))) == 100
            with pytest.raises(StoreRefusedError, match="locked"):
                await level.set_many(rows(100), 60)
            db.execute("ROLLBACK")
        await level.set_many(rows(100), 60)
        assert (await level.measure()).rows == 200


async def test_a_disk_that_is_full_takes_no_rows_and_those_there_are_found(level, path):
    await level.set_many(rows(0), 60)

    def fill(db):
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")

    await level._writing.run(fill)
    with pytest.raises(StoreRefusedError, match="full"):
        await level.set_many(rows(100, 1_000), 60)
    assert len(await level.get_many(list(rows(0)))) == 100
    assert (await level.measure()).rows == 100
