"""OpenAI's SDK for Python, as its users write it."""

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


def test_models_are_listed_and_found(client):
    assert MODEL in [model.id for model in client.models.list()]
    name = "sentence-transformers/all-MiniLM-L6-v2"
    model = client.models.retrieve(name)
    assert (model.id, model.object, type(model.created)) == (name, "model", int)


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
