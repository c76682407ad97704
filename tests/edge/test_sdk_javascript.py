"""JavaScript under Node: OpenAI's SDK, what is built on it, and fetch; tests/js has the programs of users."""

import numpy as np
import pytest
from support.javascript import run_node

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["Hello, world", "Füße, 東京 and 🦊", "word " * 700]


@pytest.fixture(scope="module")
def run(edge, state):
    """Runs a program of tests/js; returns what it prints."""

    task = {"baseURL": f"{edge.url}/v1", "apiKey": state.api_key, "model": MODEL, "texts": TEXTS}
    return lambda name: run_node(name, task)


@pytest.fixture(scope="module")
def printed(run):
    return run("embed.mjs")


def rows(answer):
    return np.array([item["embedding"] for item in answer["data"]], dtype=np.float32)


@pytest.mark.parametrize("way", ["byDefault", "floats"])
def test_vectors_are_those_of_sentence_transformers(printed, same, way):
    answer = printed[way]
    same(rows(answer), TEXTS)
    assert (answer["object"], answer["model"]) == ("list", MODEL)
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 256


def test_both_encodings_hold_the_same_numbers(printed):
    assert np.array_equal(rows(printed["byDefault"]), rows(printed["floats"]))


def test_a_single_text_under_openais_name_is_embedded(printed, same):
    same(rows(printed["single"]), TEXTS[:1])


def test_models_are_listed_and_found(printed):
    assert MODEL in [model["id"] for model in printed["models"]]
    assert printed["model"]["id"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert isinstance(printed["model"]["created"], int)


def test_the_raw_response_and_the_answer_have_the_request_id(printed):
    raw = printed["raw"]
    assert (raw["status"], raw["requestId"], raw["id"]) == (200, "js-1", "js-1")
    assert list(raw["body"]) == ["object", "data", "model", "usage"]


ERRORS = [
    ("badRequest", ("BadRequestError", 400, "input", None)),
    ("notFound", ("NotFoundError", 404, "model", "model_not_found")),
    ("unserved", ("NotFoundError", 404, None, None)),
    ("authentication", ("AuthenticationError", 401, None, "invalid_api_key")),
]


@pytest.mark.parametrize(("which", "expected"), ERRORS)
def test_errors_are_the_sdks_own(printed, which, expected):
    error = printed["errors"][which]
    assert (error["name"], error["status"], error["param"], error["code"]) == expected
    assert error["type"] == "invalid_request_error"


@pytest.fixture(scope="module")
def framed(run):
    return run("frameworks.mjs")


@pytest.mark.parametrize("way", ["langchain", "ai"])
def test_frameworks_get_the_vectors_of_sentence_transformers(framed, same, way):
    same(framed[way], TEXTS)
    same(framed[f"{way}Query"], TEXTS[:1])


def test_the_ai_sdk_knows_what_was_used(framed, printed):
    assert framed["aiTokens"] == printed["floats"]["usage"]["total_tokens"]


def test_fetch_alone_is_enough(run, same):
    fetched = run("fetch.mjs")
    for way in ("whole", "streamed"):
        assert (fetched[way]["status"], bool(fetched[way]["id"])) == (200, True)
        same(rows(fetched[way]["answer"]), TEXTS)
    assert fetched["refused"]["status"] == 400
    assert fetched["refused"]["answer"]["error"]["type"] == "invalid_request_error"
