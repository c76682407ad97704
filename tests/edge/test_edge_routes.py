"""The cache, and names that stand for two models, as REST's callers see them."""

import json

import httpx
import numpy as np
import openai
import pytest
from support.openai_server import run_openai
from support.programs import run_edge, run_server
from support.trust import until

HERE, THERE = "all-MiniLM-L6-v2", "provider/text-embedding-3-small"
ALIAS = "with-a-fallback"


@pytest.fixture(scope="module")
def provider():
    with run_openai(dimensions=6) as running:
        yield running


@pytest.fixture(scope="module")
def routed(provider, state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("routed")
    elsewhere = {
        "url": provider.url,
        "retries": 0,
        "failures": 1,
        "pause_seconds": 0.2,
        "models": {"text-embedding-3-small": {"dimensions": 6}},
    }
    values = {
        "PROVIDERS": json.dumps({"provider": elsewhere}),
        "ROUTES": json.dumps({ALIAS: {"model": THERE, "other": HERE, "fallback": True}}),
        "STORE__PATH": folder / "own.db",
    }
    with run_server(state, folder, encoder="fake", **values) as server:
        (folder / "edge").mkdir()
        with run_edge(server, state, folder / "edge") as running:
            yield running


@pytest.fixture
def ask(routed, state):
    """Posts a request; returns the response."""
    with httpx.Client(base_url=routed.url, headers={"authorization": f"Bearer {state.api_key}"}) as client:

        def post(model, *texts, **headers):
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            response = client.post("/v1/embeddings", json={"model": model, "input": texts}, headers=sent)
            response.raise_for_status()
            return response

        yield post


def test_a_header_counts_what_came_from_the_cache(ask):
    assert "x-embedsvc-cached" not in ask(HERE, "one", "two").headers
    known = ask(HERE, "two", "three", "one")
    assert known.headers["x-embedsvc-cached"] == "2"
    assert "x-embedsvc-cached" not in ask(HERE, "one", cache_control="no-store").headers
    assert known.json()["usage"] == ask(HERE, "one", "two", "three").json()["usage"]


async def test_a_model_that_is_down_is_stood_in_for_and_named(ask, provider):
    well = ask(ALIAS, "while all is well")
    assert (well.json()["model"], well.headers.get("x-embedsvc-fallback")) == (THERE, None)
    expected = provider.vector_of("while all is well")
    np.testing.assert_allclose(well.json()["data"][0]["embedding"], expected, atol=1e-6)
    provider.behave("hang_up")
    down = ask(ALIAS, "while it is down")
    assert (down.json()["model"], down.headers["x-embedsvc-fallback"]) == (HERE, THERE)
    assert down.json()["data"] == ask(HERE, "while it is down").json()["data"]
    provider.clear()
    await until(lambda: ask(ALIAS, "while it is down").json()["model"] == THERE)


def test_openais_sdk_reads_which_model_it_was(routed, state, provider):
    client = openai.OpenAI(base_url=f"{routed.url}/v1", api_key=state.api_key)
    answer = client.embeddings.create(model=THERE, input=["by the SDK", "through two servers"])
    assert answer.model == THERE
    for item, text in zip(answer.data, ("by the SDK", "through two servers"), strict=True):
        np.testing.assert_allclose(item.embedding, provider.vector_of(text), atol=1e-6)
    listed = {model.id for model in client.models.list()}
    assert {HERE, THERE, ALIAS} <= listed


def test_no_header_of_a_caller_reaches_the_provider(ask, provider, state):
    ask(THERE, "nothing but this", x_embedsvc_index="an index", x_request_id="an-id", user_agent="agent/1")
    sent = repr(provider.embedded[-1])
    assert "nothing but this" in sent
    assert not any(part in sent for part in ("emb_", state.api_key, "an index", "an-id", "agent/1", HERE))
