"""What every store promises: the same suite for all."""

import asyncio
import time
from dataclasses import replace

import pytest

from embedsvc.store.protocols import StoreRefusedError
from embedsvc.store.records import (
    FailureRow,
    InjectionPolicy,
    KeyRecord,
    Limits,
    RequestRow,
    RouteRecord,
    UsageRow,
    Want,
)

FULL = KeyRecord(
    digest="a" * 64,
    prefix="emb_aaaaaaaa",
    name="search",
    owner="team-search",
    models=("all-MiniLM-L6-v2",),
    calls=("embed", "models"),
    limits=Limits(600, 100_000, 10_000, 5_000_000, 7200),
    injection=InjectionPolicy.FLAG,
    cache=False,
    created_at=1_700_000_000.5,
    expires_at=1_900_000_000.25,
)
PLAIN = KeyRecord(digest="b" * 64, prefix="emb_bbbbbbbb", name="plain", created_at=1_700_000_001.0)
ROW = RequestRow(
    request_id="r-1",
    key="a" * 64,
    identity="dev-client",
    rpc="Embed",
    model="all-MiniLM-L6-v2",
    requests=1,
    inputs=3,
    tokens=12,
    cached=1,
    latency_ms=4.5,
    outcome="OK",
    at=1_764_072_000.0,  # 2025-11-25, noon
)
FAILURE = FailureRow("emb_guess", "unknown", "192.0.2.1", 3, 1_764_072_000.0, 1_764_072_030.5)
ROUTE = RouteRecord(
    alias="text-embedding-3-small",
    model="all-mpnet-base-v2",
    other="openai/text-embedding-3-small",
    share=12.5,
    sticky="index",
    shadow=1.25,
    fallback=True,
    changed_at=1_764_072_000.25,
)
DAY = "2025-11-25"


# Keys


async def test_a_key_comes_back_as_it_was_kept(store):
    await store.create_key(FULL)
    await store.create_key(PLAIN)
    assert await store.find_keys([FULL.digest, "c" * 64, PLAIN.digest]) == {
        FULL.digest: FULL,
        PLAIN.digest: PLAIN,
    }
    assert await store.find_keys([]) == {}


async def test_keys_are_listed_the_oldest_first(store):
    await store.create_key(PLAIN)
    await store.create_key(FULL)
    assert await store.list_keys() == [FULL, PLAIN]


async def test_many_keys_are_found_and_listed(store):
    keys = [replace(PLAIN, digest=f"{at:064x}", created_at=1_700_000_000.0 + at) for at in range(1100)]
    for start in range(0, len(keys), 50):
        await asyncio.gather(*map(store.create_key, keys[start : start + 50]))
    assert await store.list_keys() == keys
    assert set(await store.find_keys([key.digest for key in keys])) == {key.digest for key in keys}


async def test_the_same_digest_is_refused(store):
    await store.create_key(PLAIN)
    with pytest.raises(StoreRefusedError):
        await store.create_key(replace(FULL, digest=PLAIN.digest))
    assert await store.list_keys() == [PLAIN]


async def test_a_rotated_key_lives_on_for_the_overlap_and_names_its_successor(store):
    await store.create_key(PLAIN)
    successor = replace(PLAIN, digest="d" * 64, created_at=1_800_000_000.0)
    await store.rotate_key(PLAIN.digest, successor, 1_800_086_400.0)
    old = replace(PLAIN, successor=successor.digest, expires_at=1_800_086_400.0)
    assert await store.list_keys() == [old, successor]


async def test_rotation_never_lengthens_a_keys_life(store):
    await store.create_key(FULL)
    await store.rotate_key(FULL.digest, replace(FULL, digest="d" * 64), FULL.expires_at + 1000)
    assert (await store.find_keys([FULL.digest]))[FULL.digest].expires_at == FULL.expires_at


async def test_what_cannot_be_rotated_is_refused_and_leaves_no_successor_behind(store):
    successor = replace(PLAIN, digest="d" * 64)
    with pytest.raises(StoreRefusedError):
        await store.rotate_key("c" * 64, successor, 1_800_000_000.0)
    await store.create_key(PLAIN)
    await store.rotate_key(PLAIN.digest, successor, 1_800_000_000.0)
    with pytest.raises(StoreRefusedError):
        await store.rotate_key(PLAIN.digest, replace(PLAIN, digest="e" * 64), 1_800_000_000.0)
    await store.revoke_key(successor.digest, 1_750_000_000.0)
    with pytest.raises(StoreRefusedError):
        await store.rotate_key(successor.digest, replace(PLAIN, digest="e" * 64), 1_800_000_000.0)
    assert {key.digest for key in await store.list_keys()} == {PLAIN.digest, successor.digest}


async def test_a_key_is_revoked_once_and_stays_so(store):
    await store.create_key(PLAIN)
    await store.revoke_key(PLAIN.digest, 1_750_000_000.0)
    await store.revoke_key(PLAIN.digest, 1_760_000_000.0)
    assert await store.list_keys() == [replace(PLAIN, revoked_at=1_750_000_000.0)]
    with pytest.raises(StoreRefusedError):
        await store.revoke_key("c" * 64, 1_750_000_000.0)


async def test_last_use_only_ever_moves_forward(store):
    await store.create_key(PLAIN)
    await store.touch_keys({PLAIN.digest: 1_750_000_010.0, "c" * 64: 1_750_000_000.0})
    await store.touch_keys({PLAIN.digest: 1_750_000_005.0})
    assert await store.list_keys() == [replace(PLAIN, used_at=1_750_000_010.0)]


# Limits


async def test_a_window_gives_what_it_holds_and_no_more(store):
    want = Want("key:x:requests", 40, 100, 3600)
    grants = [(await store.lease([want]))[0] for _ in range(4)]
    assert [grant.units for grant in grants] == [40, 40, 20, 0]
    assert [grant.remaining for grant in grants] == [60, 20, 0, 0]
    assert all(3500 < grant.resets_in <= 3600 for grant in grants)


async def test_wants_are_answered_in_order_and_kept_apart(store):
    wants = [Want("a", 8, 10, 3600), Want("b", 8, 20, 3600), Want("a", 8, 10, 3600)]
    assert [grant.units for grant in await store.lease(wants)] == [8, 8, 2]


async def test_servers_that_ask_at_once_get_a_windows_units_once(store):
    want = Want("shared", 7, 100, 3600)
    grants = await asyncio.gather(*(store.lease([want]) for _ in range(40)))
    assert sum(grant.units for (grant,) in grants) == 100


async def test_the_next_window_is_full_again(store):
    want = Want("short", 5, 5, 0.5)
    (first,) = await store.lease([want])
    assert (first.units, (await store.lease([want]))[0].units) in ((5, 0), (5, 5))
    asked = time.monotonic()
    while not (units := (await store.lease([want]))[0].units):
        assert time.monotonic() < asked + 10
    assert units == 5


async def test_a_lowered_limit_holds_in_the_window_under_way(store):
    await store.lease([Want("x", 30, 100, 3600)])
    assert (await store.lease([Want("x", 30, 40, 3600)]))[0].units == 10
    assert (await store.lease([Want("x", 30, 20, 3600)]))[0].units == 0


async def test_wanting_nothing_tells_what_there_is(store):
    (grant,) = await store.lease([Want("x", 0, 100, 3600)])
    assert (grant.units, grant.remaining) == (0, 100)


# The ledger


async def test_a_batch_that_is_sent_twice_is_kept_once(store):
    for _ in range(2):
        await store.log_requests("batch-1", [ROW, replace(ROW, request_id="r-2")])
        await store.log_failures("batch-2", [FAILURE])
    (used,) = await store.usage(DAY, DAY)
    assert used.requests == 2
    assert await store.failures(0) == [FAILURE]


async def test_usage_is_summed_by_day_key_identity_and_model(store):
    await store.log_requests("1", [ROW, replace(ROW, outcome="INTERNAL", latency_ms=20.0)])
    await store.log_requests("2", [ROW, replace(ROW, model="other"), replace(ROW, at=ROW.at + 86_400)])
    await store.log_requests("3", [replace(ROW, key="b" * 64), replace(ROW, key="", identity="batch")])
    row = UsageRow(DAY, ROW.key, ROW.identity, ROW.model, 3, 1, 9, 36, 3, 29.0, 20.0)
    one = replace(row, requests=1, errors=0, inputs=3, tokens=12, cached=1, latency_ms=4.5, slowest_ms=4.5)
    assert sorted(await store.usage(DAY, DAY), key=repr) == sorted(
        [
            row,
            replace(one, model="other"),
            replace(one, key="b" * 64),
            replace(one, key="", identity="batch"),
        ],
        key=repr,
    )
    assert await store.usage("2025-11-26", "2025-12-31") == [replace(one, day="2025-11-26")]
    assert await store.usage("2026-01-01", "2026-12-31") == []


async def test_a_row_may_stand_for_many_requests(store):
    await store.log_requests("1", [replace(ROW, requests=10, inputs=320, latency_ms=50.0)])
    (used,) = await store.usage(DAY, DAY)
    assert (used.requests, used.inputs, used.latency_ms, used.slowest_ms) == (10, 320, 50.0, 5.0)


async def test_batches_at_once_lose_nothing(store):
    batches = [[replace(ROW, request_id=f"{at}-{row}") for row in range(200)] for at in range(20)]
    await asyncio.gather(*(store.log_requests(str(at), rows) for at, rows in enumerate(batches)))
    (used,) = await store.usage(DAY, DAY)
    assert (used.requests, used.tokens) == (4000, 48_000)


async def test_failures_come_back_the_latest_first(store):
    later = replace(FAILURE, last_at=FAILURE.last_at + 10, reason="malformed", prefix="", address="::1")
    await store.log_failures("1", [FAILURE, later])
    assert await store.failures(0) == [later, FAILURE]
    assert await store.failures(FAILURE.last_at + 5) == [later]


async def test_an_empty_batch_is_nothing(store):
    await store.log_requests("1", [])
    await store.log_failures("2", [])
    assert (await store.usage("2000-01-01", "2100-01-01"), await store.failures(0)) == ([], [])


async def test_what_is_old_is_purged_in_steps(store):
    old = [replace(ROW, request_id=str(at), at=ROW.at - 86_400) for at in range(25)]
    await store.log_requests("1", [*old, ROW])
    await store.log_failures("2", [replace(FAILURE, last_at=ROW.at - 86_400), FAILURE])
    gone = []
    while not gone or gone[-1]:
        gone.append(await store.purge(ROW.at - 3600, DAY, 10))
    assert sum(gone) == 25 + 1 + 1
    assert len(gone) > 2
    assert [used.day for used in await store.usage("2000-01-01", "2100-01-01")] == [DAY]
    assert await store.failures(0) == [FAILURE]


# Routes


async def test_a_route_comes_back_as_it_was_set(store):
    plain = RouteRecord("search", "all-MiniLM-L6-v2")
    await store.set_route(ROUTE)
    await store.set_route(plain)
    assert await store.list_routes() == [plain, ROUTE]


async def test_what_is_set_later_takes_the_place_of_what_was_set_before(store):
    await store.set_route(ROUTE)
    await store.set_route(replace(ROUTE, other="", share=100.0, shadow=0.0, fallback=False))
    (kept,) = await store.list_routes()
    assert (kept.other, kept.share, kept.fallback) == ("", 100.0, False)


async def test_routes_that_are_set_at_once_are_all_kept_each_once(store):
    routes = [replace(ROUTE, alias=f"alias-{number:02}") for number in range(20)]
    await asyncio.gather(*map(store.set_route, routes + routes))
    assert await store.list_routes() == routes


async def test_a_route_is_forgotten_alone_and_only_where_there_is_one(store):
    other = replace(ROUTE, alias="search")
    await store.set_route(ROUTE)
    await store.set_route(other)
    await store.remove_route(ROUTE.alias)
    assert await store.list_routes() == [other]
    with pytest.raises(StoreRefusedError, match="there is no such route"):
        await store.remove_route(ROUTE.alias)
