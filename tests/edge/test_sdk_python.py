"""OpenAI's SDK for Python, as its users write it."""

import json

import numpy as np
import openai
import pytest

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["Hello, world", "Füße, 東京 and 🦊", "word " * 700]


@pytest.fixture
def options(edge, state):
    return {"base_url": f"{edge.url}/v1", "api_key": state.api_key, "max_retries": 0}


@pytest.fixture
def client(options):
    with openai.OpenAI(**options) as opened:
        yield opened


@pytest.fixture
async def async_client(options):
    async with openai.AsyncOpenAI(**options) as opened:
        yield opened


@pytest.mark.parametrize("model", [MODEL, "text-embedding-3-small"])
@pytest.mark.parametrize(
    "fields", [{}, {"encoding_format": "float"}, {"dimensions": 384, "user": "me"}], ids=str
)
def test_vectors_are_those_of_sentence_transformers(client, same, model, fields):
    answer = client.embeddings.create(model=model, input=TEXTS, **fields)
    same([item.embedding for item in answer.data], TEXTS)
    assert (answer.object, answer.model) == ("list", MODEL)
    assert [(item.object, item.index) for item in answer.data] == [("embedding", at) for at in range(3)]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 256


async def test_the_async_client_gets_the_same(client, async_client):
    answer = await async_client.embeddings.create(model=MODEL, input=TEXTS)
    assert answer == client.embeddings.create(model=MODEL, input=TEXTS)


def test_base64_is_left_to_callers_who_ask_for_it(client):
    answer = client.embeddings.create(model=MODEL, input="a", encoding_format="base64")
    assert isinstance(answer.data[0].embedding, str)


def test_the_raw_response_has_the_request_id(client):
    headers = {"x-request-id": "sdk-1"}
    raw = client.embeddings.with_raw_response.create(model=MODEL, input="a", extra_headers=headers)
    assert (raw.status_code, raw.headers["x-request-id"]) == (200, "sdk-1")
    assert np.shape(raw.parse().data[0].embedding) == (384,)


def test_an_answer_knows_its_request_id(client):
    answer = client.embeddings.create(model=MODEL, input="a", extra_headers={"x-request-id": "sdk-2"})
    assert answer._request_id == "sdk-2"


def test_an_answer_can_be_read_as_it_comes(client):
    with client.embeddings.with_streaming_response.create(model=MODEL, input=TEXTS) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
        body = b"".join(response.iter_bytes(1000))
    assert len(json.loads(body)["data"]) == 3


async def test_the_async_client_reads_one_as_it_comes_too(async_client):
    async with async_client.embeddings.with_streaming_response.create(model=MODEL, input=TEXTS) as response:
        answer = await response.parse()
    assert len(answer.data) == 3


def test_options_of_one_call_are_taken(client):
    patient = client.with_options(timeout=30, max_retries=1, default_headers={"openai-beta": "x"})
    fields = {"extra_query": {"api-version": "1"}, "extra_body": {"input_type": "query", "unknown": [1]}}
    answer = patient.embeddings.create(model=MODEL, input="a", **fields)
    assert answer == client.embeddings.create(model=MODEL, input="a")


def test_a_caller_who_does_not_wait_is_told_so_by_the_sdk(client):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.001).embeddings.create(model=MODEL, input=TEXTS)


@pytest.mark.parametrize(
    "texts", [("a", "b"), ["a", "b"], iter(["a", "b"])], ids=["tuple", "list", "iterator"]
)
def test_inputs_are_whatever_can_be_gone_through(client, texts):
    assert len(client.embeddings.create(model=MODEL, input=texts).data) == 2


def test_a_client_is_made_from_the_environment(options, monkeypatch):
    for name, value in {
        "OPENAI_BASE_URL": options["base_url"],
        "OPENAI_API_KEY": options["api_key"],
        "OPENAI_ORG_ID": "org-x",
        "OPENAI_PROJECT_ID": "proj_x",
    }.items():
        monkeypatch.setenv(name, value)
    with openai.OpenAI() as client:
        assert client.embeddings.create(model=MODEL, input="a").model == MODEL


def test_what_is_not_served_is_not_found(client):
    with pytest.raises(openai.NotFoundError, match=r"Invalid URL \(POST /v1/chat/completions\)"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "a"}])


def test_models_are_listed_and_found(client):
    assert MODEL in [model.id for model in client.models.list()]
    name = "sentence-transformers/all-MiniLM-L6-v2"
    model = client.models.retrieve(name)
    assert (model.id, model.object, type(model.created)) == (name, "model", int)


async def test_the_async_client_lists_them_too(client, async_client):
    assert [model async for model in async_client.models.list()] == list(client.models.list())


ERRORS = [
    ({"input": ""}, openai.BadRequestError, (400, "input", None)),
    ({"input": ["a"] * 2049}, openai.BadRequestError, (400, "input", None)),
    ({"input": "a", "dimensions": 128}, openai.BadRequestError, (400, "dimensions", None)),
    ({"input": "a", "model": "nope"}, openai.NotFoundError, (404, "model", "model_not_found")),
    ({"input": "a" * 2**20}, openai.APIStatusError, (413, None, "request_too_large")),
]


@pytest.mark.parametrize(("fields", "kind", "expected"), ERRORS, ids=range(len(ERRORS)))
def test_errors_are_the_sdks_own(client, fields, kind, expected):
    with pytest.raises(kind) as caught:
        client.embeddings.create(**{"model": MODEL, **fields})
    error = caught.value
    assert (error.status_code, error.param, error.code) == expected
    assert error.type == "invalid_request_error"
    assert error.body["message"] in error.message
    assert error.request_id


def test_a_wrong_key_is_an_authentication_error(client):
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="emb_wrong").embeddings.create(model=MODEL, input="a")
    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")


async def test_the_async_client_raises_them_too(async_client):
    with pytest.raises(openai.BadRequestError, match="input must not be an empty string"):
        await async_client.embeddings.create(model=MODEL, input="")
