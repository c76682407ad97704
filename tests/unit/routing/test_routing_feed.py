"""routing.feed: what aliases stand for is known at once, and kept up to date behind everybody's back."""

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from embedsvc.routing import feed as module
from embedsvc.routing.feed import RouteFeed, Surroundings, open_feed
from embedsvc.routing.route import Route, from_record
from embedsvc.store.protocols import StoreAwayError
from embedsvc.store.records import RouteRecord, UnreadRoute
from embedsvc.store.sqlite.store import open_sqlite

ALIAS = "text-embedding-3-small"
HERE, THERE = "all-mpnet-base-v2", "openai/text-embedding-3-small"
RECORD = RouteRecord(ALIAS, HERE, THERE, share=10.0, changed_at=1e9)
SET = from_record(RECORD)
WRITTEN = Route(ALIAS, THERE)


class House:
    """A server, as far as routes see it."""

    def __init__(self):
        self.configured = {ALIAS: WRITTEN, "search": Route("search", HERE)}
        self.known = [HERE, THERE]
        self.told = asyncio.Queue()

    @property
    def surroundings(self):
        return Surroundings(lambda: self.configured, lambda: self.known, self.told.put_nowait)


class Ill:
    """A store that can be made to fail, to hang, or to say more than it has."""

    def __init__(self, store):
        self._store = store
        self.fails = self.hangs = False
        self.asked = 0
        self.adds = []

    async def list_routes(self):
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise StoreAwayError("no")
        return [*await self._store.list_routes(), *self.adds]


@pytest.fixture
def house():
    return House()


@pytest.fixture
async def store(tmp_path):
    async with open_sqlite(tmp_path / "embedsvc.db") as opened:
        yield opened


@pytest.fixture
def ill(store):
    return Ill(store)


@pytest.fixture
def feed(ill, house):
    return RouteFeed(ill, house.surroundings)


# What counts


async def test_where_the_store_says_nothing_the_configuration_counts(feed, house):
    await feed.refresh()
    assert feed.routes == house.configured


async def test_what_the_store_says_counts_before_it_and_for_that_alias_alone(feed, store, house):
    await store.set_route(RECORD)
    await store.set_route(replace(RECORD, alias="new"))
    await feed.refresh()
    assert feed.routes == {
        ALIAS: SET,
        "search": house.configured["search"],
        "new": replace(SET, alias="new"),
    }


async def test_what_the_store_has_forgotten_is_the_configurations_again(feed, store):
    await store.set_route(RECORD)
    await feed.refresh()
    await store.remove_route(ALIAS)
    await feed.refresh()
    assert feed.routes[ALIAS] == WRITTEN


async def test_a_configuration_that_is_read_anew_counts_at_once(feed, house):
    await feed.refresh()
    house.configured = {}
    feed.update()
    assert feed.routes == {}


async def test_who_has_the_routes_has_them_as_they_were(feed, store):
    await feed.refresh()
    before = feed.routes
    await store.set_route(RECORD)
    await feed.refresh()
    assert (before[ALIAS], feed.routes[ALIAS]) == (WRITTEN, SET)


# What cannot count


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (replace(RECORD, model="gone"), "'gone' is not served; models are named by their own names: "),
        (replace(RECORD, other="gone"), "'gone' is not served"),
        (replace(RECORD, share=1000.0), "less than or equal to 100"),
        (replace(RECORD, alias=HERE), "must be a name that no model has"),
    ],
)
async def test_what_cannot_be_is_passed_over_and_told_of_once(feed, store, house, record, reason):
    await store.set_route(record)
    with capture_logs() as logs:
        for _ in range(3):
            await feed.refresh()
    assert feed.routes == house.configured
    (told,) = [line for line in logs if line["log_level"] == "error"]
    assert told["alias"] == record.alias
    assert reason in told["reason"]


async def test_what_cannot_be_read_is_passed_over_alone_and_told_of_once(feed, store, ill, house):
    await store.set_route(replace(RECORD, alias="whole"))
    ill.adds = [UnreadRoute(ALIAS, "it cannot be read: why")]
    with capture_logs() as logs:
        for _ in range(3):
            await feed.refresh()
    assert feed.routes == {**house.configured, "whole": replace(SET, alias="whole")}
    told = [(line["alias"], line["reason"]) for line in logs if line["log_level"] == "error"]
    assert told == [(ALIAS, "it cannot be read: why")]


async def test_it_is_told_of_again_when_it_is_another_or_was_well_in_between(feed, store):
    changes = [
        replace(RECORD, model="gone"),
        replace(RECORD, model="gone too"),
        RECORD,
        replace(RECORD, model="gone"),
    ]
    with capture_logs() as logs:
        for record in changes:
            await store.set_route(record)
            await feed.refresh()
    assert [line["reason"].split()[0] for line in logs if line["log_level"] == "error"] == [
        "'gone'",
        "'gone",
        "'gone'",
    ]


async def test_a_model_that_comes_makes_a_route_good(feed, store, house):
    house.known = [HERE]
    await store.set_route(RECORD)
    await feed.refresh()
    assert feed.routes[ALIAS] == WRITTEN
    house.known = [HERE, THERE]
    await feed.refresh()
    assert feed.routes[ALIAS] == SET


# Who is told


async def test_a_change_is_told_once_with_what_counts_then(feed, store, house):
    await feed.refresh()
    await feed.refresh()
    await store.set_route(RECORD)
    await feed.refresh()
    await feed.refresh()
    told = [house.told.get_nowait() for _ in range(house.told.qsize())]
    assert told == [house.configured, {**house.configured, ALIAS: SET}]


async def test_a_change_is_in_the_log(feed, store, house):
    await feed.refresh()
    await store.set_route(RECORD)
    with capture_logs() as logs:
        await feed.refresh()
        house.configured = {}
        await feed.refresh()
    told = [(line["alias"], line["route"] and line["route"]["share"]) for line in logs]
    assert told == [(ALIAS, 10.0), ("search", None)]


# A store that is away


async def test_while_it_is_away_what_it_said_holds_and_the_log_says_so_once(feed, store, ill):
    await store.set_route(RECORD)
    await feed.refresh()
    ill.fails = True
    with capture_logs() as logs:
        await feed.refresh()
        await feed.refresh()
        assert feed.routes[ALIAS] == SET
        ill.fails = False
        await feed.refresh()
    assert [line["event"] for line in logs] == [
        "routes are not looked at again; those that are known hold",
        "routes are looked at again",
    ]


async def test_while_it_is_away_a_configuration_that_is_read_anew_counts(feed, store, ill, house):
    await store.set_route(RECORD)
    await feed.refresh()
    ill.fails = True
    house.configured = {"search": Route("search", THERE)}
    await feed.refresh()
    assert feed.routes == {"search": Route("search", THERE), ALIAS: SET}


async def test_one_that_hangs_is_away_too(feed, ill, house):
    ill.hangs = True
    with capture_logs() as logs:
        await feed.refresh(patience=0.01)
    assert feed.routes == house.configured
    assert "TimeoutError" in logs[0]["error"]


@pytest.mark.parametrize("illness", ["fails", "hangs"])
async def test_one_that_is_away_at_the_start_stops_nothing_and_counts_once_it_is_there(
    store, ill, house, monkeypatch, illness
):
    monkeypatch.setattr(module, "START_SECONDS", 0.01)
    monkeypatch.setattr(module, "STORE_SECONDS", 0.01)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    await store.set_route(RECORD)
    setattr(ill, illness, True)
    async with asyncio.timeout(30), open_feed(ill, house.surroundings) as feed:
        assert feed.routes == await house.told.get() == house.configured
        setattr(ill, illness, False)
        assert (await house.told.get())[ALIAS] == SET
        assert feed.routes[ALIAS] == SET


# While it is open


async def test_what_the_store_says_at_the_start_counts_from_the_first_call_on(store, house):
    await store.set_route(RECORD)
    async with open_feed(store, house.surroundings) as feed:
        assert feed.routes[ALIAS] == SET


async def test_what_is_set_while_it_runs_counts_soon(store, house, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    async with asyncio.timeout(30), open_feed(store, house.surroundings):
        assert await house.told.get() == house.configured
        for share in (50.0, 100.0):
            await store.set_route(replace(RECORD, share=share))
            assert (await house.told.get())[ALIAS] == replace(SET, share=share)


async def test_nothing_is_asked_after_it_is_closed(ill, house, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)
    async with asyncio.timeout(30), open_feed(ill, house.surroundings):
        await house.told.get()
        house.configured = {}
        await house.told.get()
    asked = ill.asked
    assert asked > 1
    for _ in range(100):
        await asyncio.sleep(0)
    assert ill.asked == asked
