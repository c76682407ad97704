"""Bad JSON fields through Envoy: each is refused with OpenAI's error, and nothing else is disturbed."""

import pytest

pytestmark = pytest.mark.usefixtures("undisturbed")

ADA = "text-embedding-ada-002"
MIXED = "all items must be strings, all token ids, or all lists of token ids"
FORMS = "must be a string, a list of strings, a list of token ids or a list of lists of token ids"
NOT_A_MODEL = "must be a string that names a model"

# What is wrong: the fields, the parameter that is named, and what the message says of it.
CASES = {
    "input: absent": ({}, "input", "input is required"),
    "input: null": ({"input": None}, "input", "input is required"),
    "input: number": ({"input": 5}, "input", FORMS),
    "input: boolean": ({"input": True}, "input", FORMS),
    "input: object": ({"input": {"text": "a"}}, "input", FORMS),
    "input: empty string": ({"input": ""}, "input", "input must not be an empty string"),
    "input: empty list": ({"input": []}, "input", "input must hold at least one input"),
    "input: empty ids": ({"input": [[]]}, "input[0]", "input[0] must not be an empty list of token ids"),
    "input: empty string in a list": (
        {"input": ["a", ""]},
        "input[1]",
        "input[1] must not be an empty string",
    ),
    "input: null in a list": ({"input": ["a", None]}, "input[1]", f"input[1] must be a string: {MIXED}"),
    "input: only null": ({"input": [None]}, "input[0]", f"input[0] must be a string: {MIXED}"),
    "input: object in a list": ({"input": [{}]}, "input[0]", f"input[0] must be a string: {MIXED}"),
    "input: number among strings": ({"input": ["1", 2]}, "input[1]", f"input[1] must be a string: {MIXED}"),
    "input: number as text": ({"input": [1, "2"]}, "input[1]", f"input[1] must be a token id: {MIXED}"),
    "input: string among lists": (
        {"input": [[1], "a"]},
        "input[1]",
        f"input[1] must be a list of token ids: {MIXED}",
    ),
    "input: number as text in ids": (
        {"input": [[1, "2"]]},
        "input[0]",
        "input[0][1] must be a token id, an integer from 0",
    ),
    "input: null in ids": ({"input": [[1, None]]}, "input[0]", "input[0][1] must be a token id"),
    "input: fraction": ({"input": [1.5]}, "input", "input[0] must be a token id, an integer from 0"),
    "input: negative": ({"input": [[-1]]}, "input[0]", "input[0][0] must be a token id, an integer from 0"),
    "input: 2,049 texts": ({"input": ["a"] * 2049}, "input", "input must hold 2048 inputs at most; got 2049"),
    "input: 2,049 lists": ({"input": [[5]] * 2049}, "input", "input must hold 2048 inputs at most; got 2049"),
    "input: 8,193 characters": (
        {"input": "a" * 8193},
        "input",
        "input must be 8192 characters at most; got 8193",
    ),
    "input: 8,193 characters in a list": (
        {"input": ["a", "é" * 8193]},
        "input[1]",
        "input[1] must be 8192 characters at most; got 8193",
    ),
    "input: NUL": ({"input": "a\0b"}, "input", "input must not contain the character U+0000"),
    "input: NUL in a list": ({"input": ["a", "\0"]}, "input[1]", "must not contain the character U+0000"),
    "input: own id outside": (
        {"input": [30522]},
        "input",
        "30522, outside the vocabulary",
    ),
    "input: own ids outside": ({"input": [[5], [1e19]]}, "input[1]", "which ends at 30521"),
    "input: OpenAI's id outside": ({"model": ADA, "input": [100261]}, "input", "cl100k_base"),
    "input: OpenAI's ids outside": (
        {"model": ADA, "input": [[5], [1e19]]},
        "input[1]",
        "cl100k_base",
    ),
    "input: NUL in OpenAI's ids": ({"model": ADA, "input": [188]}, "input", "U+0000"),
    "model: null": ({"input": "a", "model": None}, "model", "is required"),
    "model: number": ({"input": "a", "model": 3}, "model", NOT_A_MODEL),
    "model: list": ({"input": "a", "model": ["all-MiniLM-L6-v2"]}, "model", NOT_A_MODEL),
    "model: empty": ({"input": "a", "model": ""}, "model", NOT_A_MODEL),
    "encoding_format: unknown": ({"input": "a", "encoding_format": "hex"}, "encoding_format", "'base64'"),
    "encoding_format: number": ({"input": "a", "encoding_format": 1}, "encoding_format", "'float'"),
    "encoding_format: list": ({"input": "a", "encoding_format": ["float"]}, "encoding_format", "'float'"),
    "dimensions: number as text": ({"input": "a", "dimensions": "384"}, "dimensions", "must be an integer"),
    "dimensions: list": ({"input": "a", "dimensions": [384]}, "dimensions", "must be an integer"),
    "dimensions: fraction": ({"input": "a", "dimensions": 1.5}, "dimensions", "must be an integer"),
    "dimensions: zero": ({"input": "a", "dimensions": 0}, "dimensions", "must be at least 1"),
    "dimensions: negative": ({"input": "a", "dimensions": -1}, "dimensions", "must be at least 1"),
    "dimensions: too many": ({"input": "a", "dimensions": 385}, "dimensions", "must be 384 for all-MiniLM"),
    "dimensions: not trained for": (
        {"input": "a", "dimensions": 128},
        "dimensions",
        "must be 384",
    ),
    "user: number": ({"input": "a", "user": 5}, "user", "user must be a string"),
    "user: object": ({"input": "a", "user": {}}, "user", "user must be a string"),
    "input_type: unknown": ({"input": "a", "input_type": "poem"}, "input_type", "'query' or 'document'"),
    "input_type: ours, not theirs": (
        {"input": "a", "input_type": "unspecified"},
        "input_type",
        "'query' or 'document'",
    ),
    "input_type: number": ({"input": "a", "input_type": 1}, "input_type", "'query' or 'document'"),
    "truncation: unknown": ({"input": "a", "truncation": "x"}, "truncation", "'none' or 'end' or 'start'"),
    "truncation: boolean": ({"input": "a", "truncation": True}, "truncation", "'none' or 'end' or 'start'"),
}


@pytest.mark.parametrize(("fields", "param", "says"), CASES.values(), ids=CASES)
def test_a_bad_field_is_named(http, error_of, fields, param, says):
    response = http.post("/v1/embeddings", json={"model": "all-MiniLM-L6-v2", **fields})
    error = error_of(response)
    assert response.status_code == 400
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", None, param)
    assert param in error["message"]
    assert says in error["message"]


def test_a_request_without_model_is_refused(http, error_of):
    response = http.post("/v1/embeddings", json={"input": "a"})
    assert (response.status_code, error_of(response)["param"]) == (400, "model")


def test_too_many_tokens_are_refused_where_truncation_is_off(http, error_of):
    fields = {"model": "all-MiniLM-L6-v2", "input": ["a", "word " * 300], "truncation": "none"}
    response = http.post("/v1/embeddings", json=fields)
    error = error_of(response)
    assert response.status_code == 400
    assert (error["type"], error["code"]) == ("invalid_request_error", "context_length_exceeded")
    assert error["param"] == "input[1]"
    assert "input[1] has 302 tokens; all-MiniLM-L6-v2 reads 256 at most" in error["message"]


@pytest.mark.parametrize("name", ["nope", "nope\0\n", "mod\u00e8le \U0001f98a", "gpt-4o", "x" * 5000])
def test_an_unknown_model_is_not_found(http, error_of, name):
    response = http.post("/v1/embeddings", json={"model": name, "input": "a"})
    error = error_of(response)
    assert response.status_code == 404
    assert (error["type"], error["code"]) == ("invalid_request_error", "model_not_found")
    assert error["param"] == "model"
    assert "this server has all-MiniLM-L6-v2" in error["message"]
    assert len(error["message"]) < 500
