"""OpenAI's API to the byte: every form of input, both encodings, usage, and names of models."""

from base64 import b64decode

import numpy as np
import pytest
import tiktoken

MODEL = "all-MiniLM-L6-v2"
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
OPENAI_NAMES = ["text-embedding-ada-002", "text-embedding-3-small", "text-embedding-3-large"]
NAMES = [MODEL, HUB_NAME, *OPENAI_NAMES]
TEXTS = ["Hello, world", "The quick brown fox jumps over the lazy dog.", "Füße, 東京 and 🦊", "word " * 700]


@pytest.fixture(scope="module")
def ids_of(reference):
    """The model's own token ids, special tokens included, as many as it reads."""

    def tokenize(texts):
        return reference.tokenizer(texts, truncation=True, max_length=256)["input_ids"]

    return tokenize


@pytest.fixture
def cl100k(cl100k_offline):
    return tiktoken.get_encoding("cl100k_base")


def test_vectors_are_those_of_sentence_transformers(vectors_of, same):
    same(vectors_of(TEXTS), TEXTS)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings", "/v1/embeddings?api-version=1"])
def test_the_answer_has_openais_fields_in_openais_order(http, path):
    response = http.post(path, json={"model": MODEL, "input": TEXTS[:2]})
    body = response.json()
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.headers["x-request-id"] == response.request.headers["x-request-id"]
    assert list(body) == ["object", "data", "model", "usage"]
    assert (body["object"], body["model"]) == ("list", MODEL)
    assert [list(item) for item in body["data"]] == [["object", "index", "embedding"]] * 2
    assert [(item["object"], item["index"]) for item in body["data"]] == [("embedding", 0), ("embedding", 1)]
    assert all(type(number) is float for item in body["data"] for number in item["embedding"])


def test_usage_counts_the_tokens_that_the_model_read(embed, ids_of):
    for texts in [*([text] for text in TEXTS), TEXTS]:
        total = sum(len(ids) for ids in ids_of(texts))
        assert embed(texts)["usage"] == {"prompt_tokens": total, "total_tokens": total}


def alike(one, other):
    """Whether vectors are the same but for what they were batched with, which moves their last bits."""
    return np.allclose(one, other, atol=1e-6)


def test_base64_holds_the_bits_of_the_array(embed, vectors_of):
    answer = embed(TEXTS, encoding_format="base64")
    rows = [np.frombuffer(b64decode(item["embedding"]), dtype="<f4") for item in answer["data"]]
    assert np.array_equal(np.stack(rows).view(np.uint32), vectors_of(TEXTS).view(np.uint32))
    assert list(answer["data"][0]) == ["object", "index", "embedding"]


@pytest.mark.parametrize("text", TEXTS)
def test_all_forms_of_one_input_give_the_same_vector(vectors_of, ids_of, text):
    (ids,) = ids_of([text])
    expected = vectors_of(text)
    for form in ([text], ids, [ids], ids[1:-1], [ids[1:-1]]):
        assert alike(vectors_of(form), expected)


def test_a_list_of_token_ids_keeps_its_order(vectors_of, ids_of, same):
    same(vectors_of(ids_of(TEXTS)), TEXTS)


@pytest.mark.parametrize("name", OPENAI_NAMES)
def test_ids_under_an_openai_name_are_cl100k(vectors_of, cl100k, name):
    ids = [cl100k.encode(text) for text in TEXTS]
    assert alike(vectors_of(ids, model=name), vectors_of(TEXTS))
    assert alike(vectors_of(ids[0], model=name), vectors_of(TEXTS[0]))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_means_the_model(embed, vectors_of, name):
    assert embed("a", model=name)["model"] == MODEL
    assert alike(vectors_of("a", model=name), vectors_of("a"))


@pytest.mark.parametrize(
    "fields",
    [
        {"dimensions": 384},
        {"dimensions": None, "encoding_format": None, "user": None},
        {"encoding_format": "float", "user": "someone"},
        {"input_type": "query", "truncation": "end"},
        {"a_field_of_tomorrow": {"is": "ignored"}},
    ],
    ids=str,
)
def test_fields_that_change_nothing_are_taken(vectors_of, fields):
    assert alike(vectors_of("a", **fields), vectors_of("a"))


def test_truncation_can_keep_the_end(vectors_of, same):
    text = "word " * 300 + "fox " * 254
    same(vectors_of([text], truncation="start"), ["fox " * 254])
    same(vectors_of([text], truncation="end"), ["word " * 254])


@pytest.mark.parametrize("text", ["a" * 8192, "🦊" * 8192], ids=["ASCII", "emoji"])
def test_a_text_of_8192_characters_is_taken(embed, text):
    assert embed(text)["usage"]["total_tokens"] <= 256


def test_models_are_listed_by_every_name(http):
    body = http.get("/v1/models").json()
    assert list(body) == ["object", "data"]
    assert body["object"] == "list"
    assert sorted(model["id"] for model in body["data"]) == sorted(NAMES)
    assert http.get("/models").json() == body


@pytest.mark.parametrize("name", [*NAMES, HUB_NAME.replace("/", "%2F")])
@pytest.mark.parametrize("prefix", ["/v1/models/", "/models/"])
def test_a_model_is_found_by_every_name(http, prefix, name):
    response = http.get(prefix + name)
    model = response.json()
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert list(model) == ["id", "object", "created", "owned_by"]
    assert (model["id"], model["object"]) == (name.replace("%2F", "/"), "model")
    assert (type(model["created"]), type(model["owned_by"])) == (int, str)


def test_health_needs_no_key(stranger):
    response = stranger.get("/health")
    health = response.json()
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert list(health) == ["status", "device", "model_loaded", "gpu_available", "gpu_name"]
    assert (health["status"], health["model_loaded"]) == ("ok", True)
    assert health["gpu_available"] is (health["gpu_name"] is not None)
    assert health["device"].startswith("cuda" if health["gpu_available"] else "cpu")
