"""Requests that are wrong before any field of theirs is read: body, key, path and method."""

import gzip
import json

import pytest

pytestmark = pytest.mark.usefixtures("undisturbed")

GOOD = {"model": "all-MiniLM-L6-v2", "input": "a"}
MEGABYTE = 1_048_576

BODIES = {
    "cut off": b'{"model": "all-MiniLM-L6-v2", "input": "a',
    "two objects": json.dumps(GOOD).encode() * 2,
    "no number that JSON has": b'{"model": "all-MiniLM-L6-v2", "input": [NaN]}',
    "a number beyond double": b'{"model": "all-MiniLM-L6-v2", "input": [1e999]}',
    "a list": b'["a"]',
    "a string": b'"a"',
    "null": b"null",
    "a form": b"input=a&model=all-MiniLM-L6-v2",
    "5,000 lists deep": b'{"model": "all-MiniLM-L6-v2", "input": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a lone high surrogate": rb'{"model": "all-MiniLM-L6-v2", "input": "a\ud800b"}',
    "a lone low surrogate": rb'{"model": "all-MiniLM-L6-v2", "input": ["a", "\udfff"]}',
    "two high surrogates": rb'{"model": "all-MiniLM-L6-v2", "input": "\ud83e\ud83e"}',
    "a surrogate in the model": rb'{"model": "\ud800", "input": "a"}',
    "a surrogate in UTF-8": b'{"model": "all-MiniLM-L6-v2", "input": "\xed\xa0\x80"}',
    "invalid UTF-8": b'{"model": "all-MiniLM-L6-v2", "input": "a\xff\xfe"}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "gzip": gzip.compress(json.dumps(GOOD).encode()),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_json_object_is_refused(http, error_of, body):
    response = http.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})
    error = error_of(response)
    assert response.status_code == 400
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", None, None)


def test_an_empty_body_lacks_its_input(http, error_of):
    response = http.post("/v1/embeddings", headers={"content-type": "application/json"})
    assert (response.status_code, error_of(response)["param"]) == (400, "input")


def padded(size):
    body = json.dumps(GOOD).encode()
    return body + b" " * (size - len(body))


def in_chunks(body):
    return (body[at : at + 10_000] for at in range(0, len(body), 10_000))


@pytest.mark.parametrize("send", [bytes, in_chunks], ids=["with its length", "in chunks"])
def test_a_body_of_one_megabyte_is_read_and_a_larger_one_refused(http, error_of, send):
    assert http.post("/v1/embeddings", content=send(padded(MEGABYTE))).status_code == 200
    response = http.post("/v1/embeddings", content=send(padded(MEGABYTE + 1)))
    error = error_of(response)
    assert response.status_code == 413
    assert (error["type"], error["code"]) == ("invalid_request_error", "request_too_large")
    assert (error["message"], error["param"]) == ("the request body must be 1048576 bytes at most", None)


AUTHORIZATIONS = {
    "none": {},
    "empty": {"authorization": ""},
    "another scheme": {"authorization": "Basic dGVzdDp0ZXN0"},
    "no key in it": {"authorization": "Bearer"},
    "a wrong key": {"authorization": "Bearer emb_wrong"},
    "no ASCII": {"authorization": "Bearer schlüssel".encode()},
}
GUARDED = [("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("GET", "/v1/models/all-MiniLM-L6-v2")]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize("headers", AUTHORIZATIONS.values(), ids=AUTHORIZATIONS)
def test_a_missing_or_wrong_key_is_refused(stranger, error_of, method, path, headers):
    response = stranger.request(method, path, headers=headers, json=GOOD if method == "POST" else None)
    error = error_of(response)
    assert response.status_code == 401
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert error["param"] is None
    assert "API key" in error["message"]


UNKNOWN = [
    ("GET", "/"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v2/embeddings"),
    ("POST", "/v1/embeddings/"),
    ("GET", "/v1/models/"),
    ("POST", "/embedsvc.v1.OpenAIService/CreateEmbedding"),
    ("POST", "/embedsvc.v1.EmbeddingService/Embed"),
]


@pytest.mark.parametrize(("method", "path"), UNKNOWN)
def test_an_unknown_path_is_not_found(http, error_of, method, path):
    response = http.request(method, path)
    error = error_of(response)
    assert response.status_code == 404
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", None, None)
    assert error["message"] == f"Invalid URL ({method} {path})"


@pytest.mark.parametrize("name", ["nope", "some%2Fmodel", "some/model"])
def test_a_model_that_is_not_there_is_not_found(http, error_of, name):
    response = http.get(f"/v1/models/{name}")
    error = error_of(response)
    assert response.status_code == 404
    assert (error["code"], error["param"]) == ("model_not_found", "model")


METHODS = [
    *((method, "/v1/embeddings", "POST") for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS")),
    ("GET", "/embeddings", "POST"),
    ("POST", "/v1/models", "GET"),
    ("DELETE", "/v1/models/all-MiniLM-L6-v2", "GET"),
    ("POST", "/health", "GET"),
]


@pytest.mark.parametrize(("method", "path", "allowed"), METHODS)
def test_a_wrong_method_is_told_the_right_one(http, error_of, method, path, allowed):
    response = http.request(method, path)
    error = error_of(response)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)
    assert (error["type"], error["code"]) == ("invalid_request_error", "method_not_supported")
    assert (error["message"], error["param"]) == (f"Not allowed to {method} on {path}", None)


def test_headers_that_are_too_large_are_refused_by_envoy(http):
    response = http.post("/v1/embeddings", json=GOOD, headers={"x-large": "x" * 17_000})
    assert response.status_code == 431
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_headers_that_envoy_lets_in_the_server_takes(http):
    response = http.post("/v1/embeddings", json=GOOD, headers={"x-large": "x" * 15_000})
    assert response.status_code == 200


def test_a_grpc_call_to_the_rest_port_gets_an_answer_of_grpc(http):
    response = http.post(
        "/v1/embeddings", content=b"\0\0\0\0\0", headers={"content-type": "application/grpc"}
    )
    assert response.headers["content-type"] == "application/grpc"
    assert response.headers["grpc-status"] != "0"
