"""cache: whether the second level is one that can be used; it is neither made nor changed."""

import os
import shutil
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pytest
from patient import levels, only
from support.redis import run_redis

from embedsvc.cache.second import open_level
from embedsvc.doctor import cache as module
from embedsvc.doctor.cache import look
from embedsvc.secret.reference import SecretRef


@pytest.fixture
def path(patient):
    return patient.settings.cache.path


@pytest.fixture
async def filled(patient):
    async with open_level(patient.settings.cache, None) as level:
        await level.set_many({f"key-{at}": b"row" for at in range(1234)}, 60)
    return patient


async def test_a_file_with_vectors_is_well_and_left_as_it_was(filled, path):
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    (told,) = await filled.examine_waiting(look)
    assert told.level == "ok"
    assert told.seen.startswith(f"{path}: 1,234 vectors, ")
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


async def test_a_file_that_is_used_is_well_too(patient, path):
    async with open_level(patient.settings.cache, None) as level:
        await level.set_many({"key": b"row"}, 60)
        (told,) = await patient.examine_waiting(look)
        assert told.seen.startswith(f"{path}: 1 vectors, ")


async def test_before_the_first_start_there_is_none_and_none_is_made(patient, path):
    (told,) = await patient.examine_waiting(look)
    assert told.level == "note"
    assert "there is no file" in told.seen
    assert not path.exists()


@pytest.mark.parametrize("off", [{"enabled": False}, {"second": "none"}])
async def test_without_a_second_level_there_is_nothing_to_look_at(patient, off):
    (told,) = await patient.having("cache", **off).examine_waiting(look)
    assert told.level == "note"
    assert "a restart forgets" in told.seen


async def test_a_file_that_is_no_cache_is_an_error(patient, path):
    path.write_bytes(b"my thesis, the only copy\n" * 1000)
    told = only(await patient.examine_waiting(look), "error")
    assert "is no cache of this release, and is left alone" in told.seen
    assert "goes on without it" in told.advice


async def test_a_cache_of_a_later_release_is_an_error(filled, path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    assert "no cache of this release" in only(await filled.examine_waiting(look), "error").seen


async def test_a_damaged_one_is_no_error_since_it_is_thrown_away(filled, path):
    with path.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(path.stat().st_size - 100))
    told = only(await filled.examine_waiting(look), "warning")
    assert "is damaged" in told.seen
    assert "by itself" in told.advice


async def test_a_disk_without_room_for_what_it_may_have_is_a_warning(filled, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=1000))
    told = only(await filled.examine_waiting(look), "warning")
    assert "cache.disk_bytes is 1 MiB" in told.seen


async def test_a_folder_that_may_not_be_written_is_an_error(patient, monkeypatch):
    monkeypatch.setattr(module.os, "access", lambda _path, _mode: False)
    told = only(await patient.examine_waiting(look), "error")
    assert "may not be written by this user" in told.seen


# Redis


@pytest.fixture
def redis(tmp_path):
    with run_redis(tmp_path, maxmemory="64mb", maxmemory_policy="allkeys-lru") as running:
        yield running


@pytest.fixture
def shared(patient, redis):
    """A patient with a Redis that is well."""
    return patient.having("cache", second="redis", url=redis.url)


async def test_a_redis_that_makes_room_is_well_and_left_as_it_was(shared, redis):
    found = await shared.examine_waiting(look)
    assert levels(found) == {"ok"}
    assert found[0].seen.startswith(f"Redis at {redis.url} answers: version ")
    assert "of 64 MiB are used; then: allkeys-lru" in found[1].seen
    with redis.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize(
    ("setting", "value", "seen"),
    [("maxmemory", "0", "no bound"), ("maxmemory-policy", "noeviction", "it takes no more vectors")],
)
async def test_one_that_makes_no_room_is_a_warning(shared, redis, setting, value, seen):
    with redis.client() as client:
        client.config_set(setting, value)
    assert seen in only(await shared.examine_waiting(look), "warning").seen


async def test_a_replica_is_an_error(shared, redis):
    with redis.client() as client:
        client.replicaof("127.0.0.1", 1)
    assert "it is a replica" in only(await shared.examine_waiting(look), "error").seen


async def test_one_that_does_not_run_is_an_error(shared, redis):
    redis.kill()
    told = only(await shared.examine_waiting(look), "error")
    assert "Error 111 connecting" in told.seen
    assert told.advice.startswith("Start it, or correct cache.url")
    assert "goes on without it" in told.advice


async def test_one_that_hangs_is_an_error(shared, redis):
    redis.hang()
    assert "TimeoutError" in only(await shared.examine_waiting(look), "error").seen


@pytest.mark.parametrize(
    ("written", "advice"),
    [(None, "Set cache.password"), (b"wrong", "Put the password"), (b"right\n", None)],
)
async def test_a_password_that_does_not_fit_is_an_error(shared, redis, patient, written, advice):
    with redis.client() as client:
        client.config_set("requirepass", "right")
    if written:
        patient.path("password").write_bytes(written)
        shared = shared.having("cache", password=SecretRef("file", str(patient.path("password"))))
    found = await shared.examine_waiting(look)
    if advice:
        assert only(found, "error").advice.startswith(advice)
        assert "wrong" not in only(found, "error").seen
    else:
        assert levels(found) == {"ok"}


async def test_a_password_that_cannot_be_read_is_told_elsewhere(shared, patient):
    ref = SecretRef("file", str(patient.path("missing")))
    assert (
        "among the secrets"
        in only(await shared.having("cache", password=ref).examine_waiting(look), "note").seen
    )


async def test_a_user_that_may_not_do_enough_is_an_error(shared, redis, patient):
    with redis.client() as client:
        client.acl_setuser("embedsvc", enabled=True, passwords=["+secret"], commands=["+get"], keys=["*"])
    patient.path("password").write_bytes(b"secret")
    ref = SecretRef("file", str(patient.path("password")))
    told = only(await shared.having("cache", user="embedsvc", password=ref).examine_waiting(look), "error")
    assert "no permissions" in told.seen
    assert "docs/cache.md" in told.advice
