"""OpenAI's SDK for JavaScript under Node; tests/js/embed.mjs is the program of a user."""

import json
import subprocess

import numpy as np
import pytest
from support.programs import BIN, ROOT

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["Hello, world", "Füße, 東京 and 🦊", "word " * 700]


@pytest.fixture(scope="module")
def printed(edge, state):
    """What the program prints."""
    task = {"baseURL": f"{edge.url}/v1", "apiKey": state.api_key, "model": MODEL, "texts": TEXTS}
    script = ROOT / "tests" / "js" / "embed.mjs"
    done = subprocess.run(
        [BIN / "node", script],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


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


ERRORS = [
    ("badRequest", ("BadRequestError", 400, "input", None)),
    ("notFound", ("NotFoundError", 404, "model", "model_not_found")),
    ("authentication", ("AuthenticationError", 401, None, "invalid_api_key")),
]


@pytest.mark.parametrize(("which", "expected"), ERRORS)
def test_errors_are_the_sdks_own(printed, which, expected):
    error = printed["errors"][which]
    assert (error["name"], error["status"], error["param"], error["code"]) == expected
    assert error["type"] == "invalid_request_error"
