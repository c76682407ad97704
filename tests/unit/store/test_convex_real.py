"""store.convex on a real deployment: the same promises, on one that is not empty and is not emptied.

It runs where CONVEX_TEST_URL has the address of a deployment, and CONVEX_TEST_ADMIN_KEY_FILE is a file that
holds its admin key; see docs/deploy/convex.md. Everything has names of its own; keys are revoked in the end.
"""

import asyncio
import os
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from embedsvc.keys import token
from embedsvc.limits.bucket import SHARED
from embedsvc.store.convex.store import open_convex
from embedsvc.store.protocols import StoreAwayError, StoreRefusedError
from embedsvc.store.records import FailureRow, InjectionPolicy, KeyRecord, Limits, RequestRow, Want

URL, KEY_FILE = os.environ.get("CONVEX_TEST_URL"), os.environ.get("CONVEX_TEST_ADMIN_KEY_FILE")

pytestmark = pytest.mark.skipif(
    not (URL and KEY_FILE),
    reason="no real Convex: CONVEX_TEST_URL and CONVEX_TEST_ADMIN_KEY_FILE name none",
)


@pytest.fixture
async def store():
    async with open_convex(URL, lambda: Path(KEY_FILE).read_text().strip()) as opened:
        yield opened


@pytest.fixture
def unique():
    """What nothing else in the deployment is called."""
    return f"embedsvc-test-{uuid.uuid4()}"


@pytest.fixture
async def key(store, unique):
    """A key with everything that one can have, which stops to work after the test."""
    made = token.generate()
    record = KeyRecord(
        digest=token.digest(made),
        prefix=token.prefix(made),
        name=unique,
        owner="tests",
        models=("all-MiniLM-L6-v2",),
        calls=("embed",),
        limits=Limits(600, 100_000, 10_000, 5_000_000, 7200),
        injection=InjectionPolicy.FLAG,
        cache=False,
        created_at=1_700_000_000.5,
        expires_at=1_900_000_000.25,
    )
    await store.create_key(record)
    yield record
    await store.revoke_key(record.digest, time.time())


@pytest.fixture
def row(unique):
    return RequestRow(unique, token.digest(unique), "any", "Embed", "m", 1, 3, 12, 1, 4.5, "OK", time.time())


async def used_by(store, digest):
    """What a key has used; a test that begins before midnight may end after."""
    rows = await store.usage("2000-01-01", "2100-01-01")
    return [used for used in rows if used.key == digest]


async def test_it_answers(store):
    await store.list_keys()


async def test_a_key_comes_back_as_it_was_kept_and_is_listed(store, key):
    assert await store.find_keys([key.digest, "c" * 64]) == {key.digest: key}
    assert key in await store.list_keys()


async def test_the_same_digest_is_refused(store, key):
    with pytest.raises(StoreRefusedError, match="there is a key with this digest"):
        await store.create_key(replace(key, name="other"))


async def test_a_key_is_rotated_once_and_not_after_it_is_revoked(store, key, unique):
    successor = replace(key, digest=token.digest(unique), created_at=time.time())
    await store.rotate_key(key.digest, successor, 1_850_000_000.0)
    found = await store.find_keys([key.digest, successor.digest])
    assert found[successor.digest] == successor
    assert (found[key.digest].successor, found[key.digest].expires_at) == (successor.digest, 1_850_000_000.0)
    with pytest.raises(StoreRefusedError, match="the key has a successor"):
        await store.rotate_key(key.digest, replace(successor, digest="d" * 64), 1_850_000_000.0)
    await store.revoke_key(successor.digest, time.time())
    with pytest.raises(StoreRefusedError, match="the key is revoked"):
        await store.rotate_key(successor.digest, replace(successor, digest="d" * 64), 1_850_000_000.0)


async def test_last_use_only_ever_moves_forward(store, key):
    await store.touch_keys({key.digest: 1_750_000_010.0, "c" * 64: 1_750_000_000.0})
    await store.touch_keys({key.digest: 1_750_000_005.0})
    assert (await store.find_keys([key.digest]))[key.digest].used_at == 1_750_000_010.0


async def test_servers_that_ask_at_once_get_a_windows_units_once(store, unique):
    want = Want(unique, 7, 100, 3600.0)
    grants = await asyncio.gather(*(store.lease([want]) for _ in range(40)))
    assert sum(grant.units for (grant,) in grants) == 100
    (after,) = await store.lease([want])
    assert (after.units, after.remaining) == (0, 0)
    assert 3500 < after.resets_in <= 3600


async def test_a_lowered_limit_holds_in_the_window_under_way(store, unique):
    await store.lease([Want(unique, 30, 100, 3600.0)])
    assert (await store.lease([Want(unique, 30, 40, 3600.0)]))[0].units == 10
    assert (await store.lease([Want(unique, 30, 20, 3600.0)]))[0].units == 0


async def test_the_limit_of_all_services_tells_what_there_is_when_nothing_is_wanted(store):
    (grant,) = await store.lease([Want(SHARED, 0, 2000, 60.0)])
    assert grant.units == 0
    assert 0 <= grant.remaining <= 2000
    assert 0 < grant.resets_in <= 60


async def test_many_limits_are_leased_in_one_call(store, unique):
    grants = await store.lease([Want(f"{unique}:{number}", 5, 10, 60.0) for number in range(100)])
    assert {(grant.units, grant.remaining) for grant in grants} == {(5, 5)}


async def test_a_batch_that_is_sent_twice_is_kept_once_and_summed(store, row):
    rows = [replace(row, request_id=f"{row.request_id}-{number}") for number in range(200)]
    for _ in range(2):
        await store.log_requests(row.request_id, rows)
    used = await used_by(store, row.key)
    assert (sum(one.requests for one in used), sum(one.tokens for one in used)) == (200, 2400)


async def test_batches_at_once_lose_nothing(store, row):
    batches = [(f"{row.request_id}-{number}", [row] * 50) for number in range(10)]
    await asyncio.gather(*(store.log_requests(*batch) for batch in batches))
    assert sum(one.requests for one in await used_by(store, row.key)) == 500


async def test_failures_are_kept_once_and_come_back(store, unique):
    failure = FailureRow(unique[-12:], "unknown_key", "192.0.2.1", 3, time.time() - 1, time.time())
    for _ in range(2):
        await store.log_failures(unique, [failure])
    found = [one for one in await store.failures(failure.first_at) if one.prefix == failure.prefix]
    assert found == [failure]


async def test_purging_what_nobody_can_have_purges_nothing(store):
    assert await store.purge(0.0, "1970-01-01", 100) == 0


async def test_a_wrong_admin_key_is_a_store_that_is_away(store):
    async with open_convex(URL, lambda: "convex-self-hosted|wrong") as stranger:
        with pytest.raises(StoreAwayError):
            await stranger.find_keys(["a" * 64])
