"""store.sqlite: what is SQLite's own: its file, who else has it, and what may become of it."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import AsyncExitStack, ExitStack, closing

import pytest

from embedsvc.errors import ConfigurationError
from embedsvc.store.protocols import StoreAwayError, StoreRefusedError
from embedsvc.store.records import KeyRecord, RequestRow, RouteRecord, UnreadRoute, Want
from embedsvc.store.sqlite import store as module
from embedsvc.store.sqlite.store import VERSION, open_sqlite

KEY = KeyRecord(digest="a" * 64, prefix="emb_aaaaaaaa", name="search", created_at=1_700_000_000.0)
ROW = RequestRow("r-1", KEY.digest, "any", "Embed", "m", 1, 1, 3, 0, 1.5, "OK", 1_764_072_000.0)
WANT = Want("key:x:requests", 10, 100, 3600.0)
ROUTE = RouteRecord("text-embedding-3-small", "all-mpnet-base-v2", "all-MiniLM-L6-v2", share=10.0)
EVERYTHING = ("2000-01-01", "2100-01-01")
NOBODY = 65534


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "embedsvc.db"


@pytest.fixture
async def store(path):
    async with open_sqlite(path) as opened:
        yield opened


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def open_raw(path):
    return closing(sqlite3.connect(path, isolation_level=None))


async def refusal_of(path):
    with pytest.raises(ConfigurationError, match=f"^store.path {path}: ") as caught:
        async with open_sqlite(path):
            pass
    return str(caught.value)


# The file


async def test_the_file_and_what_lies_beside_it_are_its_owners_alone_whatever_the_umask(path):
    before = os.umask(0)
    try:
        async with open_sqlite(path) as store:
            await store.create_key(KEY)
            files = sorted(path.parent.iterdir())
            assert [file.name for file in files] == ["embedsvc.db", "embedsvc.db-shm", "embedsvc.db-wal"]
            assert {mode(file) for file in files} == {0o600}
            assert mode(path.parent) == 0o700
    finally:
        os.umask(before)


async def test_it_is_in_wal_mode_and_one_file_again_once_it_is_closed(path):
    async with open_sqlite(path) as store:
        await store.create_key(KEY)
        with open_raw(path) as db:
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert [file.name for file in path.parent.iterdir()] == ["embedsvc.db"]


async def test_what_was_kept_is_there_after_it_is_opened_again(path):
    async with open_sqlite(path) as store:
        await store.create_key(KEY)
        await store.lease([WANT])
        await store.log_requests("1", [ROW])
    async with open_sqlite(path) as store:
        assert await store.list_keys() == [KEY]
        assert (await store.lease([WANT]))[0].remaining == 80
        await store.log_requests("1", [ROW])
        assert [used.requests for used in await store.usage(*EVERYTHING)] == [1]


async def test_a_schema_of_a_later_release_is_refused_and_left_as_it_is(path):
    async with open_sqlite(path) as store:
        await store.create_key(KEY)
    with open_raw(path) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    told = f"is of a later release (schema {VERSION + 1}, known is {VERSION})"
    assert told in await refusal_of(path)
    assert path.read_bytes() == before


@pytest.fixture
async def earlier(path, monkeypatch):
    """A store of the first release's, which still has its file open."""
    monkeypatch.setattr(module, "VERSION", 1)
    async with open_sqlite(path) as store:
        monkeypatch.setattr(module, "VERSION", VERSION)
        await store.create_key(KEY)
        yield store


async def test_a_file_of_an_earlier_release_is_made_one_of_this_with_all_that_is_in_it(path, earlier):
    await earlier.log_requests("1", [ROW])
    with open_raw(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    async with open_sqlite(path) as store:
        await store.set_route(ROUTE)
        assert await store.list_keys() == [KEY]
        assert [used.requests for used in await store.usage(*EVERYTHING)] == [1]
    async with open_sqlite(path) as store:
        assert await store.list_routes() == [ROUTE]


async def test_a_process_of_an_earlier_release_that_has_the_file_open_goes_on_with_it(path, earlier):
    async with open_sqlite(path) as store:
        await store.set_route(ROUTE)
        await earlier.log_requests("1", [ROW])
        assert await earlier.list_keys() == [KEY]
        assert (await earlier.lease([WANT]))[0].remaining == 90
        assert [used.requests for used in await store.usage(*EVERYTHING)] == [1]


async def test_a_file_is_made_one_of_this_release_once_however_many_open_it_at_once(path, earlier):
    async with AsyncExitStack() as stack:
        opening = [stack.enter_async_context(open_sqlite(path)) for _ in range(8)]
        stores = await asyncio.gather(*opening)
        await asyncio.gather(*(store.set_route(ROUTE) for store in stores))
        assert await stores[0].list_routes() == [ROUTE]


async def test_a_file_that_cannot_be_made_one_of_this_release_stays_as_it_is(path, earlier):
    with open_raw(path) as db:
        db.execute("CREATE TABLE routes (somebody_elses TEXT)")
    assert "table routes already exists" in await refusal_of(path)
    with open_raw(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert await earlier.list_keys() == [KEY]


async def test_a_file_of_something_else_is_refused_and_left_as_it_is(path):
    path.parent.mkdir()
    path.write_bytes(b"my thesis, the only copy\n" * 1000)
    before = path.read_bytes()
    assert "not a database" in await refusal_of(path)
    assert path.read_bytes() == before


async def test_a_file_that_another_has_locked_for_too_long_is_told_of(path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    path.parent.mkdir()
    with open_raw(path) as db:
        db.execute("BEGIN EXCLUSIVE")
        assert "database is locked" in await refusal_of(path)
    async with open_sqlite(path) as store:
        assert await store.list_keys() == []


async def test_a_folder_that_cannot_be_is_told_of(tmp_path):
    (tmp_path / "file").touch()
    assert "file" in await refusal_of(tmp_path / "file" / "embedsvc.db")


@pytest.fixture
def unprivileged():
    """Whoever runs the tests, file modes hold."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield
    os.seteuid(user)


async def test_a_folder_that_is_read_only_is_told_of(tmp_path, unprivileged):
    if os.getuid() == os.geteuid():  # else it is somebody else's, who lets nobody in
        tmp_path.chmod(0o500)
    assert "Permission denied" in await refusal_of(tmp_path / "state" / "embedsvc.db")


# Other processes


OPEN = """
import asyncio, sys
from pathlib import Path
from embedsvc.store.records import Want
from embedsvc.store.sqlite.store import open_sqlite

async def main():
    sys.stdin.read(1)
    for number in range(10):
        async with open_sqlite(Path(sys.argv[1]) / f"{number}.db") as store:
            (grant,) = await store.lease([Want("shared", 7, 30, 3600.0)])
            print(grant.units)

asyncio.run(main())
"""


def test_processes_that_make_the_same_file_at_once_make_it_once_and_share_its_windows(tmp_path):
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", OPEN, tmp_path]
        processes = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(6)]
        for process in processes:
            process.stdin.write(" ")
            process.stdin.flush()
        said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6
    granted = zip(*(map(int, lines.split()) for lines in said), strict=True)
    assert [sum(units) for units in granted] == [30] * 10


async def test_what_one_process_keeps_another_sees_at_once(path, store):
    async with open_sqlite(path) as other:
        await other.create_key(KEY)
        assert await store.find_keys([KEY.digest]) == {KEY.digest: KEY}
        await store.revoke_key(KEY.digest, 1_800_000_000.0)
        assert (await other.list_keys())[0].revoked_at == 1_800_000_000.0


async def test_while_another_process_writes_nobody_waits_but_writers(path, store):
    await store.create_key(KEY)
    with open_raw(path) as db:
        db.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(store.log_requests("1", [ROW]))
        assert await store.find_keys([KEY.digest]) == {KEY.digest: KEY}
        assert await store.usage(*EVERYTHING) == []
        assert not writing.done()
        db.execute("ROLLBACK")
    await writing
    assert [used.requests for used in await store.usage(*EVERYTHING)] == [1]


async def test_a_lock_that_another_keeps_is_a_store_that_is_away_until_it_is_gone(path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    async with open_sqlite(path) as store:
        await store.create_key(KEY)
        with open_raw(path) as db:
            db.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreAwayError, match="locked"):
                await store.lease([WANT])
            db.execute("ROLLBACK")
        assert (await store.lease([WANT]))[0].remaining == 90


# What may become of it


async def test_a_batch_that_cannot_be_kept_whole_is_not_kept_at_all(store):
    broken = [ROW, RequestRow(**{**{f: getattr(ROW, f) for f in ROW.__slots__}, "tokens": "many"})]
    with pytest.raises(StoreAwayError):
        await store.log_requests("1", broken)
    assert await store.usage(*EVERYTHING) == []
    await store.log_requests("1", [ROW])
    assert [used.requests for used in await store.usage(*EVERYTHING)] == [1]


async def test_a_refusal_leaves_nothing_open_behind_it(path, store):
    with pytest.raises(StoreRefusedError):
        await store.revoke_key("c" * 64, 1.0)
    async with open_sqlite(path) as other:
        await other.create_key(KEY)
    assert await store.list_keys() == [KEY]


async def test_a_file_that_is_damaged_while_it_is_open_is_a_store_that_is_away(path, store):
    await store.create_key(KEY)
    with open_raw(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xaa" * (len(content) - 100))
    with pytest.raises(StoreAwayError, match="SQLite: "):
        await store.list_keys()


async def test_a_key_that_cannot_be_read_is_a_store_that_is_away_and_is_not_shown(path, store):
    await store.create_key(KEY)
    with open_raw(path) as db:
        db.execute("UPDATE keys SET record = json_set(record, '$.injection', 'sometimes')")
    with pytest.raises(StoreAwayError) as caught:
        await store.find_keys([KEY.digest])
    assert str(caught.value) == "SQLite: a KeyRecord that is kept cannot be read"


async def test_a_key_of_a_later_release_that_has_more_to_say_is_read(path, store):
    await store.create_key(KEY)
    with open_raw(path) as db:
        db.execute("UPDATE keys SET record = json_set(record, '$.colour', 'green')")
    assert await store.list_keys() == [KEY]


async def test_a_file_that_is_deleted_while_it_is_open_is_away_and_nothing_takes_its_place(path, store):
    await store.create_key(KEY)
    for file in path.parent.iterdir():
        file.unlink()
    for call in (store.log_requests("1", [ROW]), store.lease([WANT]), store.list_keys()):
        with pytest.raises(StoreAwayError, match="No such file"):
            await call
    assert list(path.parent.iterdir()) == []


async def test_a_file_that_is_put_in_its_place_is_used_from_then_on(path, store, tmp_path):
    await store.create_key(KEY)
    backup = tmp_path / "backup.db"
    with open_raw(path) as db, open_raw(backup) as copy:
        db.backup(copy)
    await store.revoke_key(KEY.digest, 1_800_000_000.0)
    for file in path.parent.iterdir():  # what lies beside it belongs to the old one
        file.unlink()
    backup.replace(path)
    assert await store.list_keys() == [KEY]
    await store.log_requests("1", [ROW])
    async with open_sqlite(path) as other:
        assert [used.requests for used in await other.usage(*EVERYTHING)] == [1]


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        ('{"alias": "spoilt", "model": "m", "sticky": "region"}', "sticky: Input should be 'key' or 'index'"),
        ('{"alias": "spoilt"}', "model: Field required"),
        ("{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
    ],
)
async def test_a_route_that_cannot_be_read_hides_no_other(path, store, spoilt, reason):
    await store.set_route(ROUTE)
    with open_raw(path) as db:
        db.execute("INSERT INTO routes VALUES ('spoilt', ?)", (spoilt,))
    assert await store.list_routes() == [UnreadRoute("spoilt", f"it cannot be read: {reason}"), ROUTE]
    await store.set_route(RouteRecord("spoilt", "m"))
    assert await store.list_routes() == [RouteRecord("spoilt", "m"), ROUTE]
