"""A name that stands for two models, of a real server: who answers, and how a caller is told."""

import json

import grpc
import numpy as np
import pytest
from support.openai_server import run_openai
from support.programs import run_server
from support.trust import operate, until

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1 import model_pb2
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub
from embedsvc.v1.model_pb2_grpc import ModelServiceStub

HERE, THERE = "all-MiniLM-L6-v2", "openai/text-embedding-3-small"
ALIAS, SAFE, SHADOWED = "text-embedding-3-small", "with-a-fallback", "shadowed"
FALLBACK = "x-embedsvc-fallback"


@pytest.fixture(scope="module")
def openai():
    with run_openai() as running:
        yield running


@pytest.fixture(scope="module")
def server(openai, state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("routes")
    provider = {
        "url": openai.url,
        "retries": 0,
        "failures": 2,
        "pause_seconds": 0.2,
        "models": {"text-embedding-3-small": {"dimensions": 8}},
    }
    routes = {
        ALIAS: {"model": HERE, "other": THERE, "share": 0},
        SAFE: {"model": THERE, "other": HERE, "fallback": True},
        SHADOWED: {"model": HERE, "other": THERE, "shadow": 100},
    }
    values = {
        "PROVIDERS": json.dumps({"openai": provider}),
        "ROUTES": json.dumps(routes),
        "STORE__PATH": folder / "own.db",  # routes that are set here are no other server's
    }
    with run_server(state, folder, encoder="fake", **values) as running:
        yield running


@pytest.fixture
async def channel(server, openai):
    openai.clear()
    openai.requests.clear()
    async with server.channel() as opened:
        yield opened


@pytest.fixture
def embed(channel, state):
    """Embeds a text; returns the answer, and what its trailing metadata names."""

    async def call(model, text, **metadata):
        sent = (*state.authorization, *((name.replace("_", "-"), value) for name, value in metadata.items()))
        asked = pb.EmbedRequest(inputs=[pb.Input(text=text)], model=model)
        answering = EmbeddingServiceStub(channel).Embed(asked, metadata=sent, timeout=30)
        answer = await answering
        return answer, dict(await answering.trailing_metadata()).get(FALLBACK, "")

    return call


async def test_a_name_leads_to_the_side_that_its_share_says(embed, openai):
    answer, fallback = await embed(ALIAS, "one side")
    assert (answer.model, answer.fallback_from, fallback) == (THERE, "", "")
    np.testing.assert_allclose(answer.embeddings[0].values, openai.vector_of("one side"), atol=1e-6)


async def test_a_model_s_own_name_is_that_model(embed):
    assert (await embed(HERE, "x"))[0].model == HERE
    assert (await embed(THERE, "x"))[0].model == THERE


async def reset(embed, server):
    """Have the configuration count again, and wait until it does."""
    done = await operate(server, "migrate", "reset", ALIAS)
    assert done.returncode == 0, done.stderr

    async def counts():
        return {(await embed(ALIAS, "x", x_embedsvc_index=f"{at}"))[0].model for at in range(6)} == {THERE}

    await until(counts)


async def test_what_was_set_counts_without_a_restart_and_not_when_it_is_reset(embed, server):
    done = await operate(server, "migrate", "set", ALIAS, "--share", "100")
    assert done.returncode == 0, done.stderr

    async def answered_by(model):
        return (await embed(ALIAS, "moves"))[0].model == model

    await until(lambda: answered_by(HERE))
    done = await operate(server, "migrate", "status", "--format", "json")
    [said] = [each for each in json.loads(done.stdout) if each["alias"] == ALIAS]
    assert (said["model"], said["other"], said["share"]) == (HERE, THERE, 100.0)
    await reset(embed, server)


async def test_the_header_of_an_index_keeps_it_on_one_side(embed, server):
    done = await operate(server, "migrate", "set", ALIAS, "--share", "50", "--sticky", "index")
    assert done.returncode == 0, done.stderr

    async def sides():
        found = [(await embed(ALIAS, "x", x_embedsvc_index=f"index {at}"))[0].model for at in range(12)]
        return set(found) == {HERE, THERE}

    await until(sides)
    for at in range(4):
        found = {(await embed(ALIAS, f"text {n}", x_embedsvc_index=f"index {at}"))[0].model for n in range(4)}
        assert len(found) == 1
    await reset(embed, server)


async def test_a_side_that_is_down_is_stood_in_for_and_the_answer_says_so(embed, openai, server):
    before, _ = await embed(SAFE, "known")
    openai.behave("status", status=500)
    for number in range(4):
        answer, fallback = await embed(SAFE, f"new {number}")
        assert (answer.model, answer.fallback_from, fallback) == (HERE, THERE, THERE)
        own, _ = await embed(HERE, f"new {number}")
        assert own.embeddings[0].values == answer.embeddings[0].values
    known, fallback = await embed(SAFE, "known")
    assert (known.model, known.embeddings[0].cached, fallback) == (THERE, True, "")
    assert known.embeddings[0].values == before.embeddings[0].values
    labels = f'alias="{SAFE}",by="{HERE}",model="{THERE}"'
    assert server.sample(f"embeddings_fallbacks_total{{{labels}}}") == 4
    openai.clear()

    async def recovered():
        answer, _ = await embed(SAFE, "new 0")
        return answer.model == THERE

    await until(recovered)
    answer, _ = await embed(SAFE, "new 0")
    np.testing.assert_allclose(answer.embeddings[0].values, openai.vector_of("new 0"), atol=1e-6)


async def test_without_consent_who_is_down_is_down(embed, openai):
    openai.behave("status", status=500)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await embed(ALIAS, "nobody stands in")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_shadow_is_sent_and_answers_nobody(embed, openai, server):
    answer, _ = await embed(SHADOWED, "seen twice")
    assert answer.model == HERE
    await until(lambda: any("seen twice" in request.texts for request in openai.embedded))
    labels = f'alias="{SHADOWED}",model="{THERE}",outcome="ok"'
    await until(lambda: server.sample(f"embeddings_shadow_requests_total{{{labels}}}") == 1)


async def test_no_key_of_a_user_ever_leaves(embed, openai, state):
    for model in (ALIAS, SAFE, SHADOWED, THERE):
        await embed(model, f"asked by {model}", x_embedsvc_index="secret index")
    await until(lambda: len(openai.embedded) >= 4)
    assert not any(part in repr(openai.requests) for part in ("emb_", state.api_key, "secret index"))


async def test_aliases_and_models_elsewhere_are_found(channel, state):
    stub = ModelServiceStub(channel)
    for name, model in ((ALIAS, HERE), (SAFE, THERE), (THERE, THERE)):
        asked = model_pb2.GetModelRequest(name=name)
        assert (await stub.GetModel(asked, metadata=state.authorization)).model.name == model
    listed = await stub.ListModels(model_pb2.ListModelsRequest(), metadata=state.authorization)
    assert {model.name for model in listed.models} >= {HERE, THERE}
