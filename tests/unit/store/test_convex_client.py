"""store.convex: a backend that is well, and one that fails in every way it can: the stand-in."""

import asyncio
from functools import partial

import pytest

from embedsvc.breaker import FAILURES, Breaker
from embedsvc.store.convex import client as module
from embedsvc.store.convex.client import open_client, parse_admin_key
from embedsvc.store.convex.store import open_convex
from embedsvc.store.convex.wire import encode
from embedsvc.store.protocols import StoreAwayError, StoreError, StoreRefusedError
from embedsvc.store.records import FailureRow, KeyRecord, RequestRow, Want

KEY = KeyRecord(digest="a" * 64, prefix="emb_aaaaaaaa", name="search", created_at=1_700_000_000.0)
ROW = RequestRow("r-1", KEY.digest, "any", "Embed", "m", 1, 1, 3, 0, 1.5, "OK", 1_764_072_000.0)
FAILURE = FailureRow("emb_guess", "unknown_key", "192.0.2.1", 3, 1_764_072_000.0, 1_764_072_030.5)
WANT = Want("key:x:requests", 10, 100, 60.0)
LEASE = "embeddings:checkRateLimit"
LOG = "embeddings:logRequest"
EVERYTHING = ("2000-01-01", "2100-01-01")


@pytest.fixture
async def store(convex):
    async with open_convex(convex.url, lambda: convex.admin_key) as opened:
        yield opened


@pytest.fixture
def without_breaker(monkeypatch):
    """Every call goes out, whatever became of those before, of stores that are opened from now on."""
    monkeypatch.setattr(module, "Breaker", partial(Breaker, failures=1_000_000))


@pytest.fixture
def with_long_pauses(monkeypatch):
    """What is left alone is so for longer than a test."""
    monkeypatch.setattr(module, "Breaker", partial(Breaker, first_pause=1000.0, longest_pause=1000.0))


@pytest.fixture
def with_short_pauses(monkeypatch):
    monkeypatch.setattr(module, "Breaker", partial(Breaker, first_pause=0.01))


async def failure_of(call):
    with pytest.raises(StoreError) as caught:
        await call
    return caught.value


# A backend that is ill


async def test_a_backend_that_refuses_connections_is_away_until_it_takes_them(store, convex):
    convex.fault("refuse")
    error = await failure_of(store.lease([WANT]))
    assert isinstance(error, StoreAwayError)
    assert "ConnectError" in str(error)
    convex.clear()
    assert (await store.lease([WANT]))[0].units == 10


async def test_a_backend_that_hangs_is_given_up_after_a_while(convex, monkeypatch):
    monkeypatch.setattr(module, "CALL_SECONDS", 0.3)
    async with open_convex(convex.url, lambda: convex.admin_key) as store:
        convex.fault("hang")
        for call in (store.lease([WANT]), store.find_keys([KEY.digest])):
            assert isinstance(await failure_of(call), StoreAwayError)
        assert convex.calls() == {LEASE: 1, "embeddings:lookupKeys": 1}


async def test_a_call_that_is_cancelled_while_the_backend_hangs_ends_at_once(store, convex):
    convex.fault("hang")
    for number in range(1, FAILURES + 2):
        call = asyncio.create_task(store.lease([WANT]))
        async with asyncio.timeout(20):
            while convex.calls().get(LEASE) != number:  # noqa: ASYNC110 - it is another process's
                await asyncio.sleep(0.001)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    convex.clear()
    assert (await store.lease([WANT]))[0].units == 10


async def test_a_slow_answer_is_an_answer(store, convex):
    convex.fault("delay", ms=100)
    assert (await store.lease([WANT]))[0].units == 10


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_backend_that_has_too_much_to_do_is_away_and_says_so(store, convex, status):
    convex.fault("status", status=status, times=1)
    error = await failure_of(store.log_requests("1", [ROW]))
    assert isinstance(error, StoreAwayError)
    assert f"Convex answers {status}: " in str(error)
    await store.log_requests("1", [ROW])
    assert [row["requestId"] for row in convex.dump("embeddingRequests")] == ["r-1"]


async def test_a_batch_whose_answer_was_lost_is_there_once_after_it_is_sent_again(store, convex):
    convex.fault("drop-after-commit", times=2)
    for call in (store.log_requests("1", [ROW]), store.log_failures("2", [FAILURE])):
        assert isinstance(await failure_of(call), StoreAwayError)
    await store.log_requests("1", [ROW])
    await store.log_failures("2", [FAILURE])
    assert len(convex.dump("embeddingRequests")) == len(convex.dump("embeddingAuthFailures")) == 1
    assert [used.requests for used in await store.usage(*EVERYTHING)] == [1]


async def test_a_backend_that_is_killed_and_started_again_is_found_with_what_it_had_acknowledged(
    without_breaker, store, convex
):
    await store.create_key(KEY)
    await store.lease([WANT])
    await store.log_requests("1", [ROW])
    for _ in range(2):
        convex.kill()
        assert isinstance(await failure_of(store.find_keys([KEY.digest])), StoreAwayError)
        convex.start()
        assert await store.find_keys([KEY.digest]) == {KEY.digest: KEY}
    assert (await store.lease([WANT]))[0].remaining == 80
    await store.log_requests("1", [ROW])
    assert [used.requests for used in await store.usage(*EVERYTHING)] == [1]


async def test_a_key_that_an_earlier_release_kept_is_read_with_what_it_could_not_say(store, convex):
    document = {name: value for name, value in encode(KEY).items() if name != "cache"}
    async with open_client(convex.url, lambda: convex.admin_key) as client:
        await client.mutate("embeddings:createKey", {"key": document})
    assert await store.find_keys([KEY.digest]) == {KEY.digest: KEY}
    assert KEY.cache


# The breaker


async def test_a_backend_that_failed_again_and_again_is_left_alone_and_failing_takes_no_time(
    with_long_pauses, store, convex
):
    convex.fault("status", status=503)
    for _ in range(FAILURES + 20):
        assert isinstance(await failure_of(store.lease([WANT])), StoreAwayError)
    assert "left alone" in str(await failure_of(store.lease([WANT])))
    assert convex.calls() == {LEASE: FAILURES}


async def test_what_failed_for_one_purpose_is_not_left_alone_for_the_others(with_long_pauses, store, convex):
    convex.fault("status", status=503)
    for _ in range(FAILURES):
        await failure_of(store.lease([WANT]))
    convex.clear()
    assert await store.find_keys([KEY.digest]) == {}
    await store.log_requests("1", [ROW])


async def test_after_a_pause_one_call_finds_out_and_lets_the_others_through(with_short_pauses, store, convex):
    convex.fault("status", status=503, times=FAILURES)
    for _ in range(FAILURES):
        await failure_of(store.lease([WANT]))
    before = convex.calls()[LEASE]
    async with asyncio.timeout(20):
        while convex.calls()[LEASE] == before:
            await asyncio.gather(*(store.lease([WANT]) for _ in range(5)), return_exceptions=True)
    assert convex.calls()[LEASE] == before + 1
    assert all(await asyncio.gather(*(store.lease([WANT]) for _ in range(5))))


async def test_an_answer_that_is_an_error_of_the_callers_is_no_failure_of_the_backends(store, convex):
    for _ in range(FAILURES + 2):
        assert isinstance(await failure_of(store.revoke_key("c" * 64, 1.0)), StoreRefusedError)
    await store.list_keys()


# What a backend refuses


async def test_what_a_function_refuses_is_told_in_our_words(store):
    await store.create_key(KEY)
    refused = {
        "there is a key with this digest": store.create_key(KEY),
        "there is no such key": store.revoke_key("c" * 64, 1.0),
        "there is no such route": store.remove_route("text-embedding-3-small"),
    }
    for message, call in refused.items():
        error = await failure_of(call)
        assert (type(error), str(error)) == (StoreRefusedError, message)


async def test_a_call_that_a_function_does_not_take_will_not_succeed_later(convex):
    async with open_client(convex.url, lambda: convex.admin_key) as client:
        error = await failure_of(client.mutate(LOG, {"batchId": 1}))
        assert isinstance(error, StoreRefusedError)
        assert str(error).startswith(f"{LOG}: ")
        assert len(str(error)) < 600


async def test_a_function_that_is_not_deployed_may_be_later(convex):
    async with open_client(convex.url, lambda: convex.admin_key) as client:
        for call in (client.query("embeddings:nothing", {}), client.mutate("nothing:at_all", {})):
            error = await failure_of(call)
            assert isinstance(error, StoreAwayError)
            assert "Convex has no function" in str(error)


@pytest.mark.parametrize("key", ["wrong", "convex-self-hosted|wrong"])
async def test_a_wrong_admin_key_is_no_reason_to_drop_anything_and_is_shown_to_nobody(convex, key):
    async with open_convex(convex.url, lambda: key) as store:
        error = await failure_of(store.log_requests("1", [ROW]))
    assert isinstance(error, StoreAwayError)
    assert "Convex answers 401" in str(error)
    assert key not in str(error)
    assert convex.dump("embeddingRequests") == []


@pytest.mark.parametrize("content", [b"", b"two\nlines", b"two words", b"a\0zero", "ü".encode(), b"\xff"])
def test_an_admin_key_that_cannot_be_sent_is_none_and_is_shown_to_nobody(content):
    with pytest.raises(ValueError, match=r"^it is not a key: one word of ASCII$"):
        parse_admin_key(content)


def test_an_admin_key_has_no_newline_of_its_file():
    assert parse_admin_key(b"convex-self-hosted|0123\r\n") == "convex-self-hosted|0123"


async def test_an_admin_key_that_changes_is_used_from_the_next_call_on(convex):
    keys = iter(["old", convex.admin_key])
    async with open_convex(convex.url, lambda: next(keys)) as store:
        await failure_of(store.lease([WANT]))
        assert await store.lease([WANT])
