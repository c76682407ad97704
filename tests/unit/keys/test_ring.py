"""keys.ring: keys are looked up once, refreshed behind the callers' backs, kept while the store is away."""

import asyncio
import time
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from embedsvc.errors import OverloadedError
from embedsvc.keys import ring as module
from embedsvc.keys.ring import KeyRing, open_ring
from embedsvc.metrics import Metrics
from embedsvc.store.protocols import StoreAwayError
from embedsvc.store.records import KeyRecord
from embedsvc.store.sqlite.store import open_sqlite

KEY = KeyRecord(digest="a" * 64, prefix="emb_aaaaaaaa", name="search", created_at=1_700_000_000.0)


class Store:
    """A store that can be made to hang or to fail, and that says what it was asked."""

    def __init__(self, *keys):
        self.keys = {key.digest: key for key in keys}
        self.asked = []
        self.touched = []
        self.error = None
        self.well = asyncio.Event()
        self.well.set()

    async def find_keys(self, digests):
        self.asked.append(sorted(digests))
        await self.well.wait()
        if self.error:
            raise self.error
        return {digest: self.keys[digest] for digest in digests if digest in self.keys}

    async def touch_keys(self, used):
        if self.error:
            raise self.error
        self.touched.append(sorted(used))


@pytest.fixture
def store():
    return Store(KEY)


@pytest.fixture
def ring(store):
    return KeyRing(store, Metrics())


async def test_a_key_is_looked_up_once(ring, store):
    assert [await ring.find(KEY.digest) for _ in range(3)] == [KEY] * 3
    assert store.asked == [[KEY.digest]]


async def test_callers_who_come_at_once_with_a_new_key_share_one_look_up(ring, store):
    assert await asyncio.gather(*(ring.find(KEY.digest) for _ in range(50))) == [KEY] * 50
    assert len(store.asked) == 1


async def test_a_key_that_is_not_there_is_not_looked_up_again_for_a_while(ring, store):
    assert [await ring.find("b" * 64) for _ in range(3)] == [None] * 3
    assert len(store.asked) == 1


async def test_a_first_use_waits_50_milliseconds_at_most_and_is_then_told_to_come_back(ring, store):
    store.well.clear()
    started = time.monotonic()
    with pytest.raises(OverloadedError):
        await ring.find(KEY.digest)
    assert time.monotonic() - started >= module.FIRST_SECONDS
    store.well.set()
    await asyncio.wait(list(ring._lookups.values()))
    assert ring.current(KEY.digest) == KEY


async def test_a_store_that_fails_leaves_known_keys_and_refuses_others(ring, store):
    await ring.find(KEY.digest)
    store.error = StoreAwayError("no")
    with capture_logs() as logs:
        await ring.refresh()
        await ring.refresh()
        assert await ring.find(KEY.digest) == KEY
        with pytest.raises(OverloadedError):
            await ring.find("b" * 64)
        store.error = None
        await ring.refresh()
    assert [line["event"] for line in logs] == [
        "keys are not looked at again; what is known of them holds",
        "a key could not be looked up",
        "keys are looked at again",
    ]


async def test_who_tries_many_keys_at_once_is_told_to_come_back_and_asks_no_more_of_the_store(ring, store):
    await ring.find(KEY.digest)
    store.well.clear()
    answers = await asyncio.gather(
        *(ring.find(f"{at:064x}") for at in range(module.MOST_LOOKUPS + 20)), return_exceptions=True
    )
    assert all(isinstance(answer, OverloadedError) for answer in answers)
    assert len(store.asked) == 1 + module.MOST_LOOKUPS
    assert await ring.find(KEY.digest) == KEY
    store.well.set()


async def test_a_change_is_seen_at_the_next_look_and_all_keys_are_looked_at_in_one_call(ring, store):
    other = replace(KEY, digest="b" * 64)
    store.keys[other.digest] = other
    await ring.find(KEY.digest)
    await ring.find(other.digest)
    store.keys[KEY.digest] = replace(KEY, revoked_at=1_800_000_000.0)
    await ring.refresh()
    assert ring.current(KEY.digest).revoked_at == 1_800_000_000.0
    assert store.asked[-1] == [KEY.digest, other.digest]


async def test_a_key_that_is_gone_from_the_store_is_gone_here(ring, store):
    await ring.find(KEY.digest)
    store.keys.clear()
    await ring.refresh()
    assert ring.current(KEY.digest) is None


async def test_the_look_comes_soon_enough_for_a_revoked_key_to_stop_within_a_minute():
    assert module.REFRESH_SECONDS + 2 * module.STORE_SECONDS <= 60


async def test_last_use_is_told_once_for_many_uses_and_not_without_any(ring, store):
    for _ in range(5):
        await ring.find(KEY.digest)
    await ring.refresh()
    await ring.refresh()
    assert store.touched == [[KEY.digest]]


async def test_last_use_that_could_not_be_told_is_told_later(ring, store):
    await ring.find(KEY.digest)
    store.error = StoreAwayError("no")
    await ring.refresh()
    store.error = None
    await ring.refresh()
    assert store.touched == [[KEY.digest]]


async def test_a_key_that_nobody_uses_is_forgotten_but_not_while_the_store_is_away(ring, store, monkeypatch):
    await ring.find(KEY.digest)
    await ring.refresh()
    store.error = StoreAwayError("no")
    await ring.refresh()
    monkeypatch.setattr(module, "IDLE_SECONDS", -1.0)
    await ring.refresh()
    assert ring._known
    store.error = None
    await ring.refresh()
    await ring.refresh()
    assert not ring._known


async def test_leaving_tells_of_the_last_use(tmp_path):
    async with open_sqlite(tmp_path / "x.db") as store:
        await store.create_key(KEY)
        async with open_ring(store, Metrics()) as ring:
            await ring.find(KEY.digest)
        (kept,) = await store.list_keys()
        assert time.time() - 60 < kept.used_at <= time.time()
