"""Limits, as callers of a real server meet them: what passes, what is refused, and what both are told.

Keys are new for each test. What several servers do together is in test_limits_over_servers.py.
"""

import asyncio
import itertools

import grpc
import pytest
from google.rpc import code_pb2
from support import pki
from support.limited import SOON, TIMEOUT, answer_of, ask, details_of, holds, request, seconds, spend
from support.programs import run_server
from support.trust import bearer, certificate, identities, make_key

from embedsvc.store.records import Limits
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1 import model_pb2
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub
from embedsvc.v1.model_pb2_grpc import ModelServiceStub

SPIFFE = "spiffe://embedsvc.internal/"
POLICY = identities(
    {"name": "alone", "key": "refused", "requests_per_minute": 10},
    {"name": "both", "requests_per_minute": 15},
    {"name": "any", "match": ["*"]},
)


@pytest.fixture(scope="module")
def own_state(tmp_path_factory):
    made = pki.make(tmp_path_factory.mktemp("limits"))
    for name in ("alone", "both"):
        pki.write(made.folder, name, certificate(made.ca, SPIFFE + name))
    return made


@pytest.fixture(scope="module")
def service(own_state, tmp_path_factory):
    values = {"RATES__REQUESTS_PER_MINUTE": 30, "AUTH__IDENTITIES": POLICY}
    with run_server(own_state, tmp_path_factory.mktemp("server"), encoder="fake", **values) as running:
        yield running


@pytest.fixture(scope="module")
async def channel(service):
    async with service.channel() as opened:
        yield opened


@pytest.fixture
async def limited(own_state):
    """Makes keys; returns the metadata of their callers."""
    numbers = itertools.count()

    async def make(**limits):
        return bearer(await make_key(own_state, f"limited-{next(numbers)}", limits=Limits(**limits)))

    return make


# What a caller is told


async def test_an_answer_says_what_is_left_of_requests_and_of_tokens(channel, limited):
    metadata = await limited(requests_per_minute=20, tokens_per_minute=1000)
    first, second = [await ask(channel, metadata, "x" * 98) for _ in range(2)]
    assert first.code == second.code == "OK"
    assert seconds(first.told["reset-requests"]) <= 60
    assert seconds(first.told["reset-tokens"]) <= 60
    assert [{k: v for k, v in answer.told.items() if "reset" not in k} for answer in (first, second)] == [
        {
            "limit-requests": "20",
            "remaining-requests": requests,
            "limit-tokens": "1000",
            "remaining-tokens": tokens,
        }
        for requests, tokens in (("19", "900"), ("18", "800"))
    ]


async def test_a_refusal_says_so_and_when_to_come_back(channel, limited):
    passed, last = await spend(channel, await limited(requests_per_minute=10))
    assert holds(passed, 10)
    assert (last.code, last.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED")
    assert last.message.startswith("over the limit, 10 requests in 60s; try again in ")
    assert last.told["remaining-requests"] == "0"
    assert last.retry == pytest.approx(seconds(last.told["reset-requests"]), abs=0.1)
    assert 0 < last.retry <= 60


async def test_a_key_without_limits_is_told_nothing(fake_channel, state):
    assert (await ask(fake_channel, state.authorization)).told == {}


async def test_who_asks_for_models_is_limited_and_told_too(channel, limited):
    metadata = await limited(requests_per_minute=10)
    assert (await ask(channel, metadata)).told["remaining-requests"] == "9"
    stub = ModelServiceStub(channel)
    listed = await answer_of(stub.ListModels(model_pb2.ListModelsRequest(), metadata=metadata))
    assert (listed.code, listed.told["remaining-requests"]) == ("OK", "8")


async def test_a_request_that_fails_counts_and_is_told_too(channel, limited):
    metadata = await limited(requests_per_minute=10)
    empty = await ask(channel, metadata, "")
    assert (empty.code, empty.told["remaining-requests"]) == ("INVALID_ARGUMENT", "9")


# Tokens


async def test_tokens_of_a_minute_are_held_and_refused_as_tokens(channel, limited):
    passed, last = await spend(channel, await limited(tokens_per_minute=1000), "x" * 48, "x" * 48)
    assert holds(passed * 100, 1000)
    assert (last.code, last.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED")
    assert last.message.startswith("over the limit, 1000 tokens in 60s: this request has 100; try again in ")
    assert 0 < last.retry <= 60
    assert {name: value for name, value in last.told.items() if "reset" not in name} == {
        "limit-tokens": "1000",
        "remaining-tokens": "0",
    }


async def test_a_request_that_has_more_tokens_than_a_minute_never_passes_and_takes_none(channel, limited):
    metadata = await limited(tokens_per_minute=1000)
    large = await ask(channel, metadata, *["x" * 250] * 4)
    assert (large.code, large.retry) == ("RESOURCE_EXHAUSTED", None)
    assert large.message.endswith("this request has 1008; it can never pass")
    small = await ask(channel, metadata, "x" * 98)
    assert (small.code, small.told["remaining-tokens"]) == ("OK", "900")


async def test_a_request_larger_than_a_block_passes_where_there_is_enough_for_it(channel, limited):
    metadata = await limited(tokens_per_minute=1000)
    assert (await ask(channel, metadata, *["x" * 250] * 3)).code == "OK"
    assert (await ask(channel, metadata, *["x" * 250] * 3)).code == "RESOURCE_EXHAUSTED"


# Quotas


@pytest.mark.parametrize(
    ("quota", "kind", "units"),
    [({"quota_requests": 12}, "requests", 12), ({"quota_tokens": 1200}, "tokens", 1200)],
    ids=["requests", "tokens"],
)
async def test_a_quota_is_held_over_its_window_of_an_hour(channel, limited, quota, kind, units):
    metadata = await limited(**quota)
    passed, last = await spend(channel, metadata, "x" * 98)
    assert holds(passed * units // 12, units)
    assert f"over the limit, {units} {kind} in 1h0m0s" in last.message
    assert last.told[f"limit-{kind}"] == str(units)
    assert 3500 < last.retry <= 3600
    assert 3500 < seconds(last.told[f"reset-{kind}"]) <= 3600


async def test_of_two_limits_the_one_that_has_less_left_is_told(channel, limited):
    metadata = await limited(requests_per_minute=100, quota_requests=10)
    passed, last = await spend(channel, metadata)
    assert holds(passed, 10)
    assert (last.told["limit-requests"], last.told["remaining-requests"]) == ("10", "0")


# Whose limits


async def test_a_key_without_limits_of_its_own_has_those_of_the_configuration(channel, limited):
    passed, last = await spend(channel, await limited())
    assert holds(passed, 30)
    assert last.told["limit-requests"] == "30"
    assert (await ask(channel, await limited(requests_per_minute=40))).told["limit-requests"] == "40"


async def test_a_key_of_a_file_has_those_of_the_configuration(channel, own_state):
    assert (await ask(channel, own_state.authorization)).told["limit-requests"] == "30"


async def test_a_certificate_alone_has_the_limits_of_its_identity(service, limited):
    async with service.channel("alone") as opened:
        passed, last = await spend(opened, ())
    assert holds(passed, 10)
    assert last.told["limit-requests"] == "10"


async def test_a_key_and_its_certificates_identity_both_pay(service, limited):
    plenty, few = await limited(requests_per_minute=100), await limited(requests_per_minute=5)
    async with service.channel("both") as opened:
        passed, _ = await spend(opened, few)
        assert holds(passed, 5)
        others, last = await spend(opened, plenty)
        assert holds(passed + others, 15)
        assert last.told["limit-requests"] == "15"


# Streams


async def test_every_batch_of_a_stream_is_a_request_and_refused_ones_end_nothing(channel, limited):
    metadata = await limited(quota_requests=5, quota_seconds=3)
    stream = EmbeddingServiceStub(channel).EmbedStream(metadata=metadata, timeout=TIMEOUT)

    async def next_answer():
        await stream.write(pb.EmbedStreamRequest(id="1", request=request()))
        return await stream.read()

    passed, waits = 0, SOON
    while waits <= SOON:
        answer = await next_answer()
        passed += answer.HasField("response")
        if answer.HasField("error"):
            assert answer.error.code == code_pb2.RESOURCE_EXHAUSTED
            reason, waits = details_of(answer.error)
            assert reason == "RATE_LIMIT_EXCEEDED"
    assert holds(passed, 5)
    await asyncio.sleep(waits)  # as it was told: then the next window begins
    assert (await next_answer()).response.embeddings
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert (await stream.code()) is grpc.StatusCode.OK


async def test_a_batch_with_too_many_tokens_is_refused_and_the_stream_goes_on(channel, limited):
    metadata = await limited(tokens_per_minute=1000)
    texts = {"small": ["x" * 10], "large": ["x" * 250] * 4, "last": ["x" * 10]}
    batches = (pb.EmbedStreamRequest(id=name, request=request(*some)) for name, some in texts.items())
    stream = EmbeddingServiceStub(channel).EmbedStream(batches, metadata=metadata, timeout=TIMEOUT)
    answers = {answer.id: answer async for answer in stream}
    assert answers["small"].response.embeddings
    assert answers["last"].response.embeddings
    assert answers["large"].error.code == code_pb2.RESOURCE_EXHAUSTED
    assert details_of(answers["large"].error) == ("RATE_LIMIT_EXCEEDED", None)
