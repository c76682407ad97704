"""sqlite: the file is looked at as it is, and neither made nor changed."""

import os
import sqlite3
from contextlib import closing

import pytest
from patient import levels, only

from embedsvc.doctor import sqlite
from embedsvc.doctor.sqlite import look
from embedsvc.store.records import KeyRecord
from embedsvc.store.sqlite.store import VERSION, open_sqlite

KEY = KeyRecord(digest="a" * 64, prefix="emb_aaaaaaaa", name="search", created_at=1_700_000_000.0)


@pytest.fixture
async def made(patient):
    """A file with one key, which nobody has open."""
    async with open_sqlite(patient.settings.store.path) as store:
        await store.create_key(KEY)
    return patient.settings.store.path


def change(path, *statements):
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)


async def test_a_file_with_a_key_is_well(patient, made):
    file, keys = patient.examine(look)
    assert levels([file, keys]) == {"ok"}
    assert file.seen.startswith(f"{made}: schema {VERSION}, WAL, whole")
    assert keys.seen == "API keys that work: 1"


async def test_the_keys_of_an_earlier_releases_file_are_counted_and_it_stays_one(patient, made):
    change(made, "DROP TABLE routes", "PRAGMA user_version = 1")
    file, keys = patient.examine(look)
    assert levels([file, keys]) == {"ok"}
    assert file.seen.startswith(f"{made}: schema 1, WAL, whole")
    assert keys.seen == "API keys that work: 1"


async def test_looking_leaves_the_folder_as_it_was(patient, made):
    before = {entry.name: entry.stat() for entry in os.scandir(made.parent)}
    patient.examine(look)
    after = {entry.name: entry.stat() for entry in os.scandir(made.parent)}
    assert after.keys() == before.keys()
    assert (after[made.name].st_mtime_ns, made.read_bytes()[:100]) == (
        before[made.name].st_mtime_ns,
        made.read_bytes()[:100],
    )


async def test_a_store_that_is_in_use_is_read_with_what_is_still_in_its_log(patient):
    async with open_sqlite(patient.settings.store.path) as store:
        await store.create_key(KEY)
        assert only([patient.examine(look)[1]], "ok").seen == "API keys that work: 1"


def test_where_there_is_no_file_yet_none_is_made(patient):
    (told,) = patient.examine(look)
    assert told.level == "note"
    assert f"there is no file {patient.settings.store.path} yet" in told.seen
    assert not patient.settings.store.path.exists()


def test_what_is_no_database_is_an_error(patient):
    patient.settings.store.path.write_text("# notes\n" * 1000)
    told = only(patient.examine(look), "error")
    assert told.seen == f"{patient.settings.store.path} cannot be read: file is not a database"
    assert "backup" in told.advice


async def test_a_file_that_is_damaged_is_an_error(patient, made):
    with made.open("r+b") as file:  # past the first page, which has the schema
        file.seek(4096)
        file.write(b"\xff" * 4096 * 8)
    told = only(patient.examine(look), "error")
    assert str(made) in told.seen
    assert "last backup: docs/operations.md" in told.advice


async def test_a_file_that_is_too_large_to_be_read_in_time_is_taken_as_it_is(patient, made, monkeypatch):
    monkeypatch.setattr(sqlite, "CHECK_SECONDS", -1.0)
    monkeypatch.setattr(sqlite, "STEPS", 1)
    assert levels(patient.examine(look)) == {"ok"}


async def test_a_file_of_a_later_release_is_an_error(patient, made):
    change(made, f"PRAGMA user_version = {VERSION + 1}")
    told = only(patient.examine(look), "error")
    assert f"of a later release (schema {VERSION + 1}, known is {VERSION})" in told.seen


async def test_a_file_that_is_not_in_wal_mode_is_a_warning(patient, made):
    change(made, "PRAGMA journal_mode = DELETE")
    told = only(patient.examine(look), "warning")
    assert "not in WAL mode" in told.seen
    assert told.advice.endswith(f"`sqlite3 {made} 'PRAGMA journal_mode = WAL'`")


def test_an_empty_file_is_a_note(patient):
    patient.settings.store.path.touch()
    (told,) = patient.examine(look)
    assert (told.level, told.seen) == ("note", f"{patient.settings.store.path} is empty")


async def test_a_file_that_may_not_be_written_is_an_error(patient, made, monkeypatch):
    monkeypatch.setattr(sqlite.os, "access", lambda path, _mode: path != made.parent)
    told = only(patient.examine(look), "error")
    assert "may not be written by this user" in told.seen


async def test_where_no_key_works_nobody_can_call(patient, made):
    async with open_sqlite(made) as store:
        await store.revoke_key(KEY.digest, 1_700_000_000.0)
    assert "callers need one of auth.keys" in patient.examine(look)[1].seen  # which the patient has
    told = only(patient.having("auth", keys=None).examine(look), "warning")
    assert told.seen == "no API key works: every caller gets 401"
    assert told.advice.startswith("`embedsvc keys create NAME`")
