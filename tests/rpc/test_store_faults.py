"""A server whose store fails in every way: no request fails or waits for it, and every row is there once.

The store is the stand-in for Convex. Tests have an order: what hangs does so until one makes it well, and the
last stops the server that all share.
"""

import asyncio
import csv
import io
import json
from dataclasses import dataclass

import pytest
from support import pki
from support.convex import run_standin
from support.faults import DROPPED, WITHIN, ask_many, new_key, rows_of, run_with, until_all_are_there
from support.limited import SOON, ask, ask_once, request, spend
from support.trust import operate, until

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

KILLS = 20
MUCH = {"requests_per_minute": 1_000_000, "tokens_per_minute": 100_000_000, "quota_requests": 10_000_000}
LOG = "embeddings:logRequest"
LOST, FOUND = "limits are not shared; each server holds them by itself", "limits are shared again"


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    with run_standin(tmp_path_factory.mktemp("convex")) as running:
        yield running


@pytest.fixture(scope="module")
def own_state(tmp_path_factory):
    return pki.make(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def service(own_state, standin, tmp_path_factory):
    with run_with(standin, own_state, tmp_path_factory.mktemp("server"), LEDGER__DRAIN_SECONDS=30) as running:
        yield running


@pytest.fixture(scope="module")
async def channel(service):
    async with service.channel() as opened:
        yield opened


@pytest.fixture(scope="module")
def known_key(standin, channel):
    """Makes keys that the server knows already: they were used once."""

    async def make(**limits):
        metadata = await new_key(standin, **limits)
        assert (await ask(channel, metadata)).code == "OK"
        return metadata

    return make


def times(service, event):
    """How often something was logged."""
    return sum(line["event"] == event for line in service.events())


# A store that hangs


@dataclass(frozen=True)
class Callers:
    """Callers of a server whose store hangs: three that it knows, and one that it does not."""

    free: object
    much: object
    few: object
    new: object


@pytest.fixture(scope="module")
async def hung(standin, known_key):
    few = await known_key(requests_per_minute=100)
    callers = Callers(await known_key(), await known_key(**MUCH), few, await new_key(standin, **MUCH))
    standin.fault("hang")
    yield callers
    standin.clear()


async def test_while_the_store_hangs_those_who_are_known_go_on_with_limits_and_without(hung, channel):
    await asyncio.gather(*(ask_many(channel, metadata, 300) for metadata in (hung.free, hung.much)))
    for metadata in (hung.free, hung.much):
        batches = (pb.EmbedStreamRequest(id=str(number), request=request()) for number in range(50))
        stream = EmbeddingServiceStub(channel).EmbedStream(batches, metadata=metadata, timeout=WITHIN)
        assert [answer.HasField("response") async for answer in stream] == [True] * 50


async def test_while_the_store_hangs_a_new_key_is_told_to_come_back(hung, channel):
    for _ in range(3):
        answer = await ask_once(channel, hung.new, within=WITHIN)
        assert (answer.code, answer.reason, answer.retry) == ("UNAVAILABLE", "OVERLOADED", 1.0)
        assert answer.message == "the API key could not be looked up; try again"


async def test_while_the_store_hangs_a_server_holds_limits_alone_which_is_counted_and_told_once(
    hung, channel, service
):
    passed, last = await spend(channel, hung.few)
    assert passed == 99
    assert last.retry > SOON
    assert last.told["remaining-requests"] == "0"
    assert service.sample("embeddings_limits_open_total") > 0

    async def told():
        await ask(channel, hung.much)
        return times(service, LOST) == 1

    await until(told)
    assert times(service, FOUND) == 0


async def test_once_it_answers_new_keys_are_known_and_limits_are_shared_again(
    hung, channel, service, standin
):
    standin.clear()
    assert (await ask(channel, hung.new)).code == "OK"

    async def shared():
        await ask(channel, hung.few)
        return times(service, FOUND) == 1

    await until(shared)
    assert times(service, LOST) == 1


# A store that fails otherwise


async def test_whatever_goes_wrong_no_request_fails_and_every_row_is_there_once(standin, channel, known_key):
    metadata, ids = await known_key(**MUCH), []
    faults = (
        {"kind": "refuse"},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 503},
        {"kind": "drop-after-commit"},
        {"kind": "delay", "ms": 300},
    )
    for fault in faults:
        standin.fault(**fault)
        ids += await ask_many(channel, metadata, 50)
    standin.clear()
    await until_all_are_there(standin, ids)


# A store that is killed


async def test_over_20_kills_under_load_no_request_fails_and_every_row_is_there_once(
    standin, channel, service, known_key
):
    metadata, over, failed = await known_key(**MUCH), asyncio.Event(), []
    ids = []

    async def call():
        while not over.is_set():
            ids.append(f"killed-{len(ids)}")
            answer = await ask_once(channel, (*metadata, ("x-request-id", ids[-1])), within=WITHIN)
            failed.extend([answer] if answer.code != "OK" else [])
            await asyncio.sleep(
                0.02
            )  # fifty a second, so that what is started again has not too much to read

    async def asked(count):
        await until(lambda: asyncio.sleep(0, len(ids) >= count))

    async def calls():
        return (await asyncio.to_thread(standin.calls)).get(LOG, 0)

    async def logged(count):
        async def reached():
            return await calls() >= count

        await until(reached)

    async with asyncio.TaskGroup() as callers:
        for _ in range(2):
            callers.create_task(call())
        for number in range(KILLS):
            if number % 4 == 0:  # a batch that was kept, and whose answer was lost
                await asyncio.to_thread(standin.fault, "drop-after-commit", times=1)
                await logged(await calls() + 1)
            await asyncio.to_thread(standin.kill)
            await asked(len(ids) + 5)
            await asyncio.to_thread(standin.start)
            await logged(1)
        over.set()
    assert failed == []
    assert service.sample(DROPPED) == 0
    service.process.terminate()
    assert await asyncio.to_thread(service.process.wait, 60) == 0
    assert rows_of(standin, ids) == [1] * len(ids)
    await usage_is_the_sum_of_rows(service, standin)


async def usage_is_the_sum_of_rows(service, standin):
    rows = standin.dump("embeddingRequests")
    sums = [sum(row[name] for row in rows) for name in ("requests", "inputs", "tokens")]
    used = standin.dump("embeddingUsage")
    assert [sum(row[name] for row in used) for name in ("requests", "inputs", "tokens")] == sums
    told = json.loads((await operate(service, "usage", "--format", "json")).stdout)
    assert [sum(line[name] for line in told) for name in ("requests", "texts", "tokens")] == sums
    table = (await operate(service, "usage", "--format", "csv")).stdout
    assert sum(int(line["requests"]) for line in csv.DictReader(io.StringIO(table))) == sums[0]
    assert "caller" in (await operate(service, "usage")).stdout
