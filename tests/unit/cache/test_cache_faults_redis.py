"""A real Redis, killed, hung, slow, full, read-only, locked or full of garbage: nobody's request notices."""

import asyncio
import random
import time

import pytest
from cached import find, has, key_of, row_of, rows_of, until
from support.redis import run_redis

from embedsvc.cache.cache import open_cache
from embedsvc.cache.redis import PREFIX, open_redis_level
from embedsvc.cache.wire import encode
from embedsvc.config.cache import CacheSettings

AWAY = "the cache's second level, Redis at {url}, is away: texts that memory does not have are computed"
BACK = "the cache's second level is back"
FULL = "the cache's second level, Redis at {url}, takes no vectors: those that it has are found"
TAKES = "the cache's second level takes vectors again"


@pytest.fixture
def settings(redis):
    return CacheSettings(second="redis", url=redis.url, memory_bytes=0, wait_seconds=0.1)


def told(logs, redis):
    """What the log says, with the address left out."""
    return [line["event"].replace(redis.url, "{url}") for line in logs]


async def test_killed_it_is_told_of_once_and_comes_back_by_itself(cache, redis, logs, counts):
    redis.kill()
    for _ in range(20):
        assert await find(cache, "abc") == []
        await cache.keep(rows_of("de"))
        await asyncio.sleep(0.01)
    await until(lambda: counts("second_level_away") == 1)
    assert told(logs, redis) == [AWAY]
    assert counts("failures_total", operation="get") >= 3

    redis.start()
    await until(lambda: has(cache, "de"))  # which waited for it
    await until(lambda: counts("second_level_away") == 0)
    assert told(logs, redis) == [AWAY, BACK]
    assert counts("dropped_rows_total") == 0


async def test_it_need_not_be_there_at_the_start(settings, metrics, redis, logs):
    redis.kill()
    async with open_cache(settings, None, metrics) as cache:
        await cache.keep(rows_of("abc"))
        assert await find(cache, "abc") == []
        redis.start()
        await until(lambda: has(cache, "abc"))


async def test_hung_it_keeps_three_requests_waiting_and_no_more(cache, redis, logs):
    redis.hang()
    took = []
    for _ in range(20):
        began = time.monotonic()
        assert await find(cache, "abc") == []
        took.append(time.monotonic() - began)
    assert max(took) < 1
    assert sorted(took)[-5] < 0.05  # three waited, and whoever tried for all in between
    await asyncio.sleep(0.5)
    assert told(logs, redis) == [AWAY]
    redis.go_on()
    await until(lambda: has(cache, "abc"))
    assert told(logs, redis) == [AWAY, BACK]


async def test_requests_that_it_keeps_waiting_at_once_wait_no_longer_than_was_set(cache, redis):
    redis.hang()
    began = time.monotonic()
    assert await asyncio.gather(*(find(cache, "abc") for _ in range(100))) == [[]] * 100
    assert time.monotonic() - began < 1


async def test_too_slow_it_is_as_good_as_away(cache, redis, logs):
    with redis.client() as client:
        for _ in range(12):
            client.client_pause(300)
            assert await find(cache, "a") == []
            await asyncio.sleep(0.05)
    assert told(logs, redis) == [AWAY]
    await until(lambda: has(cache, "abc"))


@pytest.mark.parametrize("junk", [b"", b"\x00" * 100, b"\xff" * 4096, b"junk", "swapped", "cut", "flipped"])
async def test_garbage_under_our_keys_is_a_miss_and_is_mended(cache, redis, logs, counts, junk):
    key = key_of("a")
    row = encode(key, row_of("a"))
    values = {
        "swapped": encode(key_of("b"), row_of("b")),
        "cut": row[:-8],
        "flipped": row[:60] + b"!" + row[61:],
    }
    with redis.client() as client:
        client.set(PREFIX + key.short, values.get(junk, junk))
    assert await find(cache, "abc") == ["b", "c"]
    assert counts("corrupt_rows_total") == (junk != "swapped")
    assert logs == []
    await cache.keep(rows_of("a"))
    await until(lambda: has(cache, "abc"))


async def test_a_list_in_place_of_a_row_is_a_miss(cache, redis):
    with redis.client() as client:
        client.delete(PREFIX + key_of("a").short)
        client.lpush(PREFIX + key_of("a").short, "junk")
    assert await find(cache, "abc") == ["b", "c"]


async def test_full_it_takes_no_rows_and_those_there_are_found(cache, redis, logs, counts):
    with redis.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        for number in range(20):
            await cache.keep(rows_of([f"text {number}"]))
            await asyncio.sleep(0.02)
        await until(lambda: counts("second_level_away") == 1)
        assert await find(cache, "abc") == ["a", "b", "c"]
        assert told(logs, redis) == [FULL]
        assert counts("failures_total", operation="set") >= 3
        client.config_set("maxmemory", 0)
    await until(lambda: has(cache, [f"text {number}" for number in range(20)]))
    await until(lambda: told(logs, redis) == [FULL, TAKES])


async def test_a_server_that_takes_no_writes_is_read(cache, redis, logs):
    with redis.client() as client:
        client.replicaof("127.0.0.1", 1)
        for number in range(10):
            await cache.keep(rows_of([f"text {number}"]))
            await asyncio.sleep(0.02)
        assert await find(cache, "abc") == ["a", "b", "c"]
        await until(lambda: logs)
        assert told(logs, redis) == [FULL]
        client.replicaof("NO", "ONE")
    await until(lambda: has(cache, [f"text {number}" for number in range(10)]))


async def test_what_redis_throws_out_is_a_miss(cache, redis, logs):
    with redis.client() as client:
        client.flushall()
    assert await find(cache, "abc") == []
    assert logs == []


async def test_while_it_is_cleared_rows_of_before_do_not_come_back(settings, redis):
    async with open_redis_level(settings, None) as level, open_redis_level(settings, None) as server:
        before = await server.generation()
        scan = level._redis.scan

        async def scan_late(*arguments):
            found = await scan(*arguments)
            await server.set_many({"key": b"row"}, 60, before)
            return found

        level._redis.scan = scan_late
        await level.clear()
        assert await server.get_many(["key"]) == {}


# Who may


async def test_a_password_that_is_wrong_is_as_good_as_away_and_a_right_one_is_taken(tmp_path, metrics, logs):
    passwords = ["wrong"]
    with run_redis(tmp_path, requirepass="right") as redis:
        settings = CacheSettings(second="redis", url=redis.url, memory_bytes=0)
        async with open_cache(settings, lambda: passwords[-1], metrics) as cache:
            for _ in range(5):
                assert await find(cache, "abc") == []
                await cache.keep(rows_of("abc"))
            await until(lambda: logs)
            assert told(logs, redis) == [AWAY]
            assert "invalid username-password pair" in logs[0]["error"]
            passwords.append("right")
            await until(lambda: has(cache, "abc"))
            assert told(logs, redis) == [AWAY, BACK]


async def test_connections_that_are_open_outlive_a_change_of_the_password(tmp_path, metrics, logs):
    passwords = ["first"]
    with run_redis(tmp_path, requirepass="first") as redis:
        settings = CacheSettings(second="redis", url=redis.url, memory_bytes=0)
        async with open_cache(settings, lambda: passwords[-1], metrics) as cache:
            await cache.keep(rows_of("abc"))
            await until(lambda: has(cache, "abc"))
            with redis.client(password="first") as client:
                client.config_set("requirepass", "second")
                assert await find(cache, "abc") == ["a", "b", "c"]
                passwords.append("second")
                client.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: has(cache, "abc"))
    assert logs == []


@pytest.fixture
def redis_with_tls(tmp_path, state):
    files = {"cert": "server.crt", "key": "server.key", "ca_cert": "ca.crt"}
    options = {f"tls_{name}_file": state.path(file) for name, file in files.items()}
    with run_redis(
        tmp_path, tls_auth_clients="no", bind="0.0.0.0", requirepass="secret", **options
    ) as running:
        yield running


async def test_over_tls_the_certificate_must_be_of_the_ca(redis_with_tls, state, metrics, logs):
    settings = CacheSettings(
        second="redis", url=redis_with_tls.url, ca=state.path("ca.crt"), memory_bytes=0, wait_seconds=1
    )
    async with open_cache(settings, lambda: "secret", metrics) as cache:
        await cache.keep(rows_of("abc"))
        await until(lambda: has(cache, "abc"))
    strange = settings.model_copy(update={"ca": state.path("stranger.crt")})
    async with open_cache(strange, lambda: "secret", metrics) as cache:
        for _ in range(3):
            assert await find(cache, "abc") == []
        await until(lambda: logs)
        assert "CERTIFICATE_VERIFY_FAILED" in logs[0]["error"]


async def test_over_tls_the_certificate_must_be_of_the_name(redis_with_tls, state, metrics, logs):
    address = f"rediss://127.0.0.2:{redis_with_tls.port}/0"
    settings = CacheSettings(second="redis", url=address, ca=state.path("ca.crt"), wait_seconds=1)
    async with open_cache(settings, lambda: "secret", metrics) as cache:
        for _ in range(3):
            assert await find(cache, "abc") == []
        await until(lambda: logs)
    assert "IP address mismatch" in logs[0]["error"]


# All at once


async def test_whatever_becomes_of_it_under_load_no_vector_is_another_texts(cache, redis, settings, metrics):
    """Killed, hung, emptied and filled with others' rows, while callers come and leave."""
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

    def mix_up(client):
        for text in texts:
            other = chance.choice(texts)
            client.set(PREFIX + key_of(text).short, encode(key_of(other), row_of(other)))
            client.set(PREFIX + key_of(other).short, chance.randbytes(chance.randrange(200)))

    async def hurt():
        for _ in range(2):
            await works()
            with redis.client() as client:
                mix_up(client)
            await works()
            redis.hang()
            await asyncio.sleep(0.5)
            redis.go_on()
            await works()
            redis.kill()
            await asyncio.sleep(0.3)
            redis.start()
        await works()
        stop.set()

    async def works():
        enough = found + 200
        await until(lambda: found > enough)

    await asyncio.gather(hurt(), *(call() for _ in range(8)), *(leave() for _ in range(4)))
