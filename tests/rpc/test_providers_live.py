"""A server whose models are elsewhere: what callers see of it, and what the other side sees of them."""

import asyncio
import json

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.limited import answer_of
from support.openai_server import run_openai
from support.programs import run_server
from support.trust import until

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1 import model_pb2
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub
from embedsvc.v1.model_pb2_grpc import ModelServiceStub

MODEL = "openai/text-embedding-3-small"
TEXTS = ["Hello, world", "Füße, 東京 and 🦊", " two  spaces\n"]
SERVICE = "embedsvc.provider.openai"
CIRCUIT = 'embeddings_provider_circuit{provider="openai"}'
FAILURES = 3

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def openai():
    with run_openai(keys=["sk-of-this-service"]) as running:
        yield running


@pytest.fixture(scope="module")
def server(openai, state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("provider")
    key = folder / "openai_key"
    key.write_text("sk-of-this-service\n")
    provider = {
        "url": openai.url,
        "key": f"file:{key}",
        "retries": 0,
        "failures": FAILURES,
        "pause_seconds": 1.0,
        "models": {"text-embedding-3-small": {"dimensions": 8, "allow_dimensions": True}},
    }
    values = {"PROVIDERS": json.dumps({"openai": provider}), "CACHE__ENABLED": "false"}
    with run_server(state, folder, encoder="fake", **values) as running:
        yield running


@pytest.fixture
async def channel(server, openai):
    openai.clear()
    openai.requests.clear()
    async with server.channel() as opened:
        yield opened
    assert "emb_" not in repr(openai.requests)  # whatever became of them


def request(*texts, **fields):
    inputs = [pb.Input(text=text) for text in texts or ("x",)]
    return pb.EmbedRequest(inputs=inputs, model=MODEL, **fields)


async def ask(channel, state, asked):
    """What becomes of a request."""
    return await answer_of(
        EmbeddingServiceStub(channel).Embed(asked, metadata=state.authorization, timeout=30)
    )


async def circuit_of(channel):
    check = health_pb2.HealthCheckRequest(service=SERVICE)
    return (await health_pb2_grpc.HealthStub(channel).Check(check)).status


async def test_vectors_are_the_providers_and_the_answer_says_so(channel, state, openai):
    answer = await EmbeddingServiceStub(channel).Embed(request(*TEXTS), metadata=state.authorization)
    assert answer.model == MODEL
    assert openai.embedded[0].texts == TEXTS
    for item, text in zip(answer.embeddings, TEXTS, strict=True):
        assert np.allclose(item.values, openai.vector_of(text), atol=1e-6)


async def test_shorter_vectors_are_cut_here(channel, state, openai):
    asked = request("Hello", dimensions=4)
    answer = await EmbeddingServiceStub(channel).Embed(asked, metadata=state.authorization)
    cut = openai.vector_of("Hello")[:4]
    assert np.allclose(answer.embeddings[0].values, cut / np.linalg.norm(cut), atol=1e-6)
    assert "dimensions" not in openai.embedded[0].body


async def test_nothing_of_a_caller_reaches_the_provider(channel, state, openai):
    metadata = (
        *state.authorization,
        ("x-request-id", "id-of-the-caller"),
        ("x-embedsvc-index", "their-index"),
    )
    await EmbeddingServiceStub(channel).Embed(request("Hello"), metadata=metadata)
    (sent,) = openai.requests
    assert sent.key == "sk-of-this-service"
    assert not any(part in repr(sent) for part in ("emb_", state.api_key, "id-of-the-caller", "their-index"))


async def test_the_model_is_listed_with_those_of_this_machine(channel, state):
    stub = ModelServiceStub(channel)
    listed = await stub.ListModels(model_pb2.ListModelsRequest(), metadata=state.authorization)
    assert listed.models[-1].name == MODEL
    asked = model_pb2.GetModelRequest(name=MODEL)
    model = (await stub.GetModel(asked, metadata=state.authorization)).model
    assert (model.dimensions, model.max_tokens, list(model.devices)) == (8, 8191, ["openai"])
    assert model.state == model_pb2.MODEL_STATE_READY


async def test_texts_that_it_does_not_take_are_the_callers(channel, state, openai):
    openai.behave("status", status=400, message="the text 'secret' is bad")
    answer = await ask(channel, state, request("secret"))
    assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert answer.message == "the provider openai does not accept these inputs"


async def test_the_circuit_is_seen_in_answers_metrics_and_health(channel, state, openai, server):
    await ask(channel, state, request())
    assert await circuit_of(channel) == SERVING
    openai.behave("status", status=503)
    for _ in range(FAILURES):
        answer = await ask(channel, state, request())
        assert (answer.code, answer.reason) == ("UNAVAILABLE", "OVERLOADED")
        assert answer.message == "the provider openai is down; try again later"
    openai.requests.clear()
    answer = await ask(channel, state, request())
    assert answer.code == "UNAVAILABLE"
    assert answer.retry >= 0.75
    assert openai.requests == []
    assert server.sample(CIRCUIT) > 0

    async def told(status):
        return await circuit_of(channel) == status

    await until(lambda: told(NOT_SERVING))
    assert (
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    ).status == SERVING
    openai.clear()

    async def answered():
        return (await ask(channel, state, request())).code == "OK"

    await until(answered)
    assert server.sample(CIRCUIT) == 0
    await until(lambda: told(SERVING))
    failed = 'embeddings_provider_calls_total{outcome="failed",provider="openai"}'
    assert server.sample(failed) == FAILURES


async def test_a_caller_that_leaves_hangs_up_on_the_provider(channel, state, openai):
    openai.behave("stall", times=1)
    before = openai.left
    call = EmbeddingServiceStub(channel).Embed(request(), metadata=state.authorization)
    await until(lambda: openai.at_once == 1)
    call.cancel()
    await until(lambda: openai.left == before + 1)
    assert (await ask(channel, state, request())).code == "OK"


async def test_a_deadline_of_a_caller_holds(channel, state, openai):
    openai.behave("stall", times=1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await EmbeddingServiceStub(channel).Embed(request(), metadata=state.authorization, timeout=0.5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_many_callers_at_once_all_get_their_own(channel, state, openai):
    openai.behave("delay", seconds=0.01)
    stub = EmbeddingServiceStub(channel)
    texts = [f"text {number}" for number in range(60)]
    answers = await asyncio.gather(
        *(stub.Embed(request(text), metadata=state.authorization) for text in texts)
    )
    for answer, text in zip(answers, texts, strict=True):
        assert np.allclose(answer.embeddings[0].values, openai.vector_of(text), atol=1e-6)
    assert openai.most_at_once <= 16
