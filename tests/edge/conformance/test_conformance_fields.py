"""Every field of OpenAI's request in every form. What messages say of bad ones is in test_bad_fields.py."""

import math
from base64 import b64decode

import numpy as np
import pytest

MODEL = "all-MiniLM-L6-v2"
ADA = "text-embedding-ada-002"

# What is sent beside the model, and how many vectors come back.
ANSWERED = {
    "a text": ({"input": "Hello"}, 1),
    "a list of one text": ({"input": ["Hello"]}, 1),
    "texts": ({"input": ["a", "b", "c"]}, 3),
    "the same text twice": ({"input": ["a", "a"]}, 2),
    "200 texts": ({"input": [str(number) for number in range(200)]}, 200),
    "token ids": ({"input": [7592, 1010, 2088]}, 1),
    "one token id": ({"input": [7592]}, 1),
    "lists of token ids": ({"input": [[7592], [1010, 2088]]}, 2),
    "the first token id and the last": ({"input": [[0], [30521]]}, 2),
    "a token id as JSON may write it": ({"input": [7592.0, 1e2]}, 1),
    "OpenAI's token ids": ({"input": [[9906, 11, 1917], [100255]], "model": ADA}, 2),
    "8,192 token ids": ({"input": [7592] * 8192}, 1),
    "a space": ({"input": " "}, 1),
    "line breaks": ({"input": "a\r\nb\tc\n"}, 1),
    "control characters": ({"input": "\x01\x1b\x7f"}, 1),
    "letters of the whole world": ({"input": ["Füße", "東京", "שלום", "नमस्ते", "e\u0301"]}, 5),
    "emoji": ({"input": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f98a"}, 1),
    "what is no character": ({"input": "\ufffe\uffff"}, 1),
    "a byte order mark": ({"input": "\ufeffa"}, 1),
    "what looks like JSON": ({"input": '{"input": ["a"]}'}, 1),
    "encoding_format: float": ({"input": "a", "encoding_format": "float"}, 1),
    "encoding_format: base64": ({"input": ["a", "b"], "encoding_format": "base64"}, 2),
    "encoding_format: null": ({"input": "a", "encoding_format": None}, 1),
    "dimensions: the model's own": ({"input": "a", "dimensions": 384}, 1),
    "dimensions: as JSON may write it": ({"input": "a", "dimensions": 384.0}, 1),
    "dimensions: null": ({"input": "a", "dimensions": None}, 1),
    "user": ({"input": "a", "user": "someone"}, 1),
    "user: empty": ({"input": "a", "user": ""}, 1),
    "user: long": ({"input": "a", "user": "ü" * 10_000}, 1),
    "user: null": ({"input": "a", "user": None}, 1),
    "unknown fields of every type": (
        {"input": "a", "n": 1, "stream": True, "metadata": {"a": [None]}, "service_tier": "auto", "x y": ""},
        1,
    ),
    "every field": (
        {
            "input": ["a"],
            "encoding_format": "base64",
            "dimensions": 384,
            "user": "someone",
            "input_type": "document",
            "truncation": "start",
        },
        1,
    ),
}


def numbers_of(item):
    """A vector, however it was written."""
    if isinstance(item["embedding"], str):
        return np.frombuffer(b64decode(item["embedding"], validate=True), dtype="<f4")
    return np.array(item["embedding"], dtype=np.float32)


@pytest.mark.parametrize(("fields", "vectors"), ANSWERED.values(), ids=ANSWERED)
def test_what_openai_takes_is_answered(post, fields, vectors):
    response = post(**fields)
    answer = response.json()
    assert response.status_code == 200
    assert (answer["object"], answer["model"]) == ("list", MODEL)
    assert [item["index"] for item in answer["data"]] == list(range(vectors))
    written = str if fields.get("encoding_format") == "base64" else list
    assert all(isinstance(item["embedding"], written) for item in answer["data"])
    rows = np.stack([numbers_of(item) for item in answer["data"]])
    assert rows.shape == (vectors, 384)
    assert np.isfinite(rows).all()
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] >= 2 * vectors


# What is sent beside the model, the status, the parameter and the code.
REFUSED = {
    "input: lists in lists of lists": ({"input": [[[1]]]}, (400, "input[0]", None)),
    "input: texts in lists": ({"input": [["a"]]}, (400, "input[0]", None)),
    "input: texts and lists of texts": ({"input": ["a", ["b"]]}, (400, "input[1]", None)),
    "input: an empty list among lists": ({"input": [[1], []]}, (400, "input[1]", None)),
    "input: a list of booleans": ({"input": [True]}, (400, "input[0]", None)),
    "input: a boolean among texts": ({"input": ["a", False]}, (400, "input[1]", None)),
    "input: a boolean among token ids": ({"input": [1, True]}, (400, "input[1]", None)),
    "input: only empty texts": ({"input": ["", ""]}, (400, "input[0]", None)),
    "input: 8,193 token ids": ({"input": [7592] * 8193}, (400, "input", None)),
    "input: 8,193 token ids in a list": ({"input": [[1], [7592] * 8193]}, (400, "input[1]", None)),
    "input: a huge token id": ({"input": [10**300]}, (400, "input", None)),
    "input: an id between those of OpenAI": ({"input": [100256], "model": ADA}, (400, "input", None)),
    "model: other capitals": ({"input": "a", "model": "ALL-MINILM-L6-V2"}, (404, "model", "model_not_found")),
    "model: with spaces": ({"input": "a", "model": f" {MODEL} "}, (404, "model", "model_not_found")),
    "model: of another kind": ({"input": "a", "model": "gpt-4o"}, (404, "model", "model_not_found")),
    "model: object": ({"input": "a", "model": {"id": MODEL}}, (400, "model", None)),
    "model: boolean": ({"input": "a", "model": True}, (400, "model", None)),
    "encoding_format: empty": ({"input": "a", "encoding_format": ""}, (400, "encoding_format", None)),
    "encoding_format: capitals": ({"input": "a", "encoding_format": "FLOAT"}, (400, "encoding_format", None)),
    "encoding_format: boolean": ({"input": "a", "encoding_format": True}, (400, "encoding_format", None)),
    "encoding_format: object": ({"input": "a", "encoding_format": {}}, (400, "encoding_format", None)),
    "dimensions: boolean": ({"input": "a", "dimensions": True}, (400, "dimensions", None)),
    "dimensions: object": ({"input": "a", "dimensions": {}}, (400, "dimensions", None)),
    "dimensions: empty text": ({"input": "a", "dimensions": ""}, (400, "dimensions", None)),
    "dimensions: huge": ({"input": "a", "dimensions": 10**300}, (400, "dimensions", None)),
    "user: boolean": ({"input": "a", "user": False}, (400, "user", None)),
    "user: list": ({"input": "a", "user": ["someone"]}, (400, "user", None)),
}


@pytest.mark.parametrize(("fields", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_openai_refuses_is_refused(post, error_of, fields, expected):
    response = post(**fields)
    error = error_of(response)
    assert (response.status_code, error["param"], error["code"]) == expected
    assert error["type"] == "invalid_request_error"


# A body as it is written, and the text that it asks for.
WRITTEN = {
    "pretty": (b'{\n  "model": "all-MiniLM-L6-v2",\n  "input": "Hello"\n}\n', "Hello"),
    "white space around": (b' \r\n\t{"model":"all-MiniLM-L6-v2","input":"Hello"}\n ', "Hello"),
    "escaped": (rb'{"model":"all-MiniLM-L6-v2","input":"\u6771\u4eac \ud83e\udd8a\/"}', "東京 🦊/"),
    "in UTF-8": ('{"model":"all-MiniLM-L6-v2","input":"東京 🦊/"}'.encode(), "東京 🦊/"),
    "names escaped": (rb'{"\u006dodel":"all-MiniLM-L6-v2","in\u0070ut":"Hello"}', "Hello"),
    "a field twice": (b'{"model":"x","input":"x","input":"Hello","model":"all-MiniLM-L6-v2"}', "Hello"),
}


@pytest.mark.parametrize(("body", "text"), WRITTEN.values(), ids=WRITTEN)
def test_json_may_be_written_in_any_way(http, post, body, text):
    response = http.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 200
    assert response.json()["data"] == post(input=text).json()["data"]


def test_vectors_are_of_unit_length_and_the_same_in_base64(post):
    texts = ["Hello, world", "Füße", "word " * 300]
    floats, base64 = (post(input=texts, encoding_format=form).json()["data"] for form in ("float", "base64"))
    for one, other in zip(floats, base64, strict=True):
        assert math.isclose(np.linalg.norm(numbers_of(one)), 1, abs_tol=1e-5)
        # Two servers answer in turns, and what a text is batched with moves its last bits.
        assert np.allclose(numbers_of(one), numbers_of(other), atol=1e-6)
