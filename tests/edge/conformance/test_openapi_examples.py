"""Every example of docs/openapi.yaml is what is answered: to the request of its name, or to the one below."""

import json
import re
from base64 import b64decode

import numpy as np
import pytest
import yaml
from support.programs import ROOT, run_edge
from support.trust import WRONG, make_key

from embedsvc.store.records import Limits

MODEL = "all-MiniLM-L6-v2"
GOOD = {"model": MODEL, "input": "Hello, world"}
RAW = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
EMBEDDINGS = RAW["paths"]["/v1/embeddings"]["post"]
REQUESTS = EMBEDDINGS["requestBody"]["content"]["application/json"]["examples"]
NAMES = RAW["paths"]["/v1/models/{model}"]["get"]["parameters"][0]["examples"]


def answers():
    """Every example of an answer: its name, its status and its body."""
    for item in RAW["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                shared = response.get("$ref", "").rpartition("/")[2]
                found = RAW["components"]["responses"].get(shared, response)
                for name, example in found["content"]["application/json"].get("examples", {}).items():
                    yield name, (int(status), example["value"])


ANSWERS = dict(answers())

# What is refused, where the document has no request for it. All but the first have a key.
REFUSED = {
    "no_key": ("GET", "/v1/models", {}),
    "malformed_key": ("GET", "/v1/models", {"headers": {"authorization": "Bearer sk-123"}}),
    "unknown_key": ("GET", "/v1/models", {"headers": {"authorization": f"Bearer {WRONG}"}}),
    "bot": ("GET", "/v1/models", {"headers": {"user-agent": "Googlebot/2.1"}}),
    "headers_too_large": ("GET", "/v1/models", {"headers": {"x-large": "x" * 17_000}}),
    "too_large": ("POST", "/v1/embeddings", {"content": bytes(2**20 + 1)}),
    "too_many_tokens": (
        "POST",
        "/v1/embeddings",
        {"json": {**GOOD, "input": ["Hello, world", "word " * 300], "truncation": "none"}},
    ),
}

# What a key may, for which that it is refused.
KEYS = {
    "other_model": {"name": "only-mpnet", "models": ("all-mpnet-base-v2",)},
    "too_many_requests": {"limits": Limits(requests_per_minute=10)},
    "too_many_tokens_at_once": {"limits": Limits(tokens_per_minute=4)},
}
ELSEWHERE = {"internal", "no_server", "timeout", "models", "health"}


def test_every_example_is_tried():
    tried = [*REQUESTS, *(name for name in NAMES if name not in REQUESTS), *REFUSED, *KEYS, *ELSEWHERE]
    assert sorted(tried) == sorted(ANSWERS)


def shorten(answer):
    """Cut vectors to as many numbers as examples have, and set them apart: they are equal nearly."""
    vectors = [item.pop("embedding", "") for item in answer.get("data", [])]
    rows = [np.frombuffer(b64decode(row), "<f4") if isinstance(row, str) else row for row in vectors]
    return np.array([row[:3] for row in rows]), answer


def is_that_of(name, response):
    status, example = ANSWERS[name]
    assert response.status_code == status
    rows, rest = shorten(response.json())
    expected, said = shorten(json.loads(json.dumps(example)))
    assert rows == pytest.approx(expected, abs=1e-5)
    assert rest == said


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_answered_by_the_example_of_its_name(http, name):
    is_that_of(name, http.post("/v1/embeddings", json=REQUESTS[name]["value"]))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_answered_by_the_example_of_its_name(http, name):
    is_that_of(name, http.get(f"/v1/models/{NAMES[name]['value']}"))


def test_models_and_health_are_those_of_the_examples(http):
    is_that_of("models", http.get("/v1/models"))
    is_that_of("health", http.get("/health"))


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_that_of_the_example(http, stranger, name):
    method, path, fields = REFUSED[name]
    caller = stranger if name == "no_key" else http
    is_that_of(name, caller.request(method, path, **fields))


def masked(error):
    """An error without the moment that its message names."""
    return {**error, "message": re.sub(r"[\d.]+s$", "...", error["message"])}


@pytest.mark.parametrize("name", KEYS)
async def test_what_a_key_may_not_is_that_of_the_example(stranger, state, name):
    key = await make_key(state, **KEYS[name])
    status, example = ANSWERS[name]
    headers = {"authorization": f"Bearer {key}"}
    for _ in range(200):  # a key's first use may be told to come back, and a limit has to be used up
        response = stranger.post("/v1/embeddings", json=GOOD, headers=headers)
        if response.status_code == status and response.headers.get("retry-after") != "1":
            break
    assert response.status_code == status
    assert masked(response.json()["error"]) == masked(example["error"])


def test_a_deadline_that_passes_is_that_of_the_example_in_the_words_of_whoever_saw_it_first(http):
    status, example = ANSWERS["timeout"]
    response = http.post("/v1/embeddings", json=GOOD, headers={"grpc-timeout": "1n"})
    assert response.status_code == status
    assert response.json()["error"] | {"message": example["error"]["message"]} == example["error"]


def test_where_no_server_is_the_answer_is_that_of_the_example(pair, state, stranger, tmp_path):
    nowhere = {"refused": True, "EDGE__UPSTREAMS": '["127.0.0.1:1"]'}
    with run_edge(pair.servers, state, tmp_path, **nowhere) as edge:
        is_that_of("no_server", stranger.get(f"{edge.url}/v1/models"))
