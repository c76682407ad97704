"""The ledger of a real server: what it forgets, holds, loses, and writes down when the server stops."""

import asyncio
import datetime as dt
import time

import pytest
from support import pki
from support.convex import run_standin
from support.faults import DROPPED, WITHIN, ask_many, new_key, rows_of, run_with, until_all_are_there
from support.limited import TIMEOUT, ask, ask_once, request
from support.programs import run_server
from support.trust import rows, until

from embedsvc.keys import token
from embedsvc.store.records import RequestRow
from embedsvc.store.sqlite.store import open_sqlite
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

DAY = 86_400


@pytest.fixture(scope="module")
def own_state(tmp_path_factory):
    return pki.make(tmp_path_factory.mktemp("ledger"))


def aged(days):
    """A row of a request of some days ago."""
    name, at = f"{days} days old", time.time() - days * DAY
    return RequestRow(name, "a" * 64, "any", "Embed", "m", 1, 1, 3, 0, 1.5, "OK", at)


async def test_what_is_old_is_forgotten_when_a_server_starts_and_sums_outlive_it(own_state, tmp_path):
    async with open_sqlite(own_state.path("embedsvc.db")) as store:
        await store.log_requests("1", [aged(days) for days in (1, 6, 8, 90, 110)])
    bounds = {"LEDGER__RETENTION_DAYS": 7, "LEDGER__USAGE_RETENTION_DAYS": 100}
    with run_server(own_state, tmp_path, encoder="fake", **bounds) as server:

        async def purged():
            return any(event["event"] == "old rows were purged" for event in server.events())

        await until(purged)
    assert {row["request_id"] for row in rows(own_state, "requests")} == {"1 days old", "6 days old"}
    today = dt.datetime.now(dt.UTC).date()
    ages = {(today - dt.date.fromisoformat(row["day"])).days for row in rows(own_state, "usage")}
    assert len(ages) == 4
    assert max(ages) in (90, 91)  # midnight may have passed


async def test_what_was_asked_a_moment_before_a_server_is_stopped_is_written_down(own_state, tmp_path):
    with run_server(own_state, tmp_path, encoder="fake") as server:
        async with server.channel() as channel:
            assert (await ask(channel, own_state.authorization)).code == "OK"
            stream = EmbeddingServiceStub(channel).EmbedStream(
                (pb.EmbedStreamRequest(id=str(at), request=request("x", "yz")) for at in range(20)),
                metadata=(*own_state.authorization, ("x-request-id", "stream")),
                timeout=TIMEOUT,
            )
            assert len([answer async for answer in stream]) == 20
            ids = [f"request-{number}" for number in range(50)]
            for one in ids:
                await ask_once(channel, (*own_state.authorization, ("x-request-id", one)))
            await ask_once(channel, (*own_state.authorization, ("x-request-id", "refused")), "")
        server.process.terminate()
        assert await asyncio.to_thread(server.process.wait, TIMEOUT) == 0
    found = {row["request_id"]: row for row in rows(own_state, "requests")}
    assert {*ids, "stream", "refused"} < found.keys()
    summed = [found["stream"][name] for name in ("rpc", "requests", "inputs", "tokens", "outcome")]
    assert summed == ["EmbedStream", 20, 40, 20 * (3 + 4), "OK"]
    assert (found["refused"]["outcome"], found["refused"]["tokens"]) == ("INVALID_ARGUMENT", 0)
    digest = token.digest(own_state.api_key)
    used = [row["requests"] for row in rows(own_state, "usage") if row["key"] == digest]
    assert sum(used) == 1 + 20 + 50 + 1


# A server of its own, which starts while its store is away


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    with run_standin(tmp_path_factory.mktemp("convex")) as running:
        yield running


@pytest.fixture(scope="module")
def bounded(own_state, standin, tmp_path_factory):
    standin.fault("refuse")
    bounds = {"LEDGER__QUEUE_ROWS": 200, "LEDGER__DRAIN_SECONDS": 0.5}
    with run_with(standin, own_state, tmp_path_factory.mktemp("bounded"), **bounds) as running:
        yield running
    standin.clear()


async def test_a_server_starts_without_its_store_and_lets_in_those_whom_a_file_names(
    bounded, own_state, standin
):
    standin.clear()
    metadata = await new_key(standin)
    standin.fault("refuse")
    async with bounded.channel() as channel:
        assert (await ask_once(channel, own_state.authorization, within=WITHIN)).code == "OK"
        assert (await ask_once(channel, metadata, within=WITHIN)).code == "UNAVAILABLE"
        standin.clear()
        assert (await ask(channel, metadata)).code == "OK"


async def test_what_waits_is_bounded_and_what_is_lost_is_counted_and_a_stop_does_not_wait_for_it(
    bounded, own_state, standin
):
    async with bounded.channel() as channel:
        before = await ask_many(channel, own_state.authorization, 1)
        await until_all_are_there(standin, before)
        standin.fault("hang")
        ids = await ask_many(channel, own_state.authorization, 1000)
    dropped = bounded.sample(DROPPED)
    assert 1000 - 2 * 200 <= dropped <= 1000 - 200  # a batch may be on its way
    bounded.process.terminate()
    assert await asyncio.to_thread(bounded.process.wait, 30) == 0
    lost = [event["count"] for event in bounded.events() if event["event"] == "rows were dropped"]
    standin.clear()
    assert dropped + sum(lost) + sum(rows_of(standin, ids)) == 1000
