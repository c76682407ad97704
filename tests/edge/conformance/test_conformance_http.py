"""What callers of OpenAI's do with HTTP itself: headers, methods, addresses."""

import uuid
from collections import Counter

import httpx
import pytest

MODEL = "all-MiniLM-L6-v2"
GOOD = {"model": MODEL, "input": "a"}

# Headers that change nothing: clients send them, and the answer is the same without.
TAKEN = {
    "content-type, with a charset": {"content-type": "application/json; charset=utf-8"},
    "content-type, in capitals": {"content-type": "Application/JSON;Charset=UTF-8"},
    "content-type, of another JSON": {"content-type": "application/vnd.api+json"},
    "content-type, as curl -d sends it": {"content-type": "application/x-www-form-urlencoded"},
    "content-type, of plain text": {"content-type": "text/plain"},
    "content-type, empty": {"content-type": ""},
    "accept, of anything": {"accept": "*/*"},
    "accept, of JSON and text": {"accept": "application/json, text/plain, */*"},
    "accept, of something else": {"accept": "text/event-stream"},
    "accept-encoding, of everything": {"accept-encoding": "gzip, deflate, br, zstd"},
    "accept-encoding, of nothing": {"accept-encoding": "identity"},
    "accept-language": {"accept-language": "de-DE,de;q=0.9"},
    "an organization": {"openai-organization": "org-x", "openai-project": "proj_x"},
    "a beta": {"openai-beta": "assistants=v2"},
    "an id of the client's": {"x-client-request-id": "123"},
    "an idempotency key": {"idempotency-key": "stainless-node-retry-1"},
    "what SDKs say of themselves": {
        "user-agent": "OpenAI/Python 3.54.0",
        "x-stainless-lang": "python",
        "x-stainless-package-version": "3.54.0",
        "x-stainless-runtime": "CPython",
        "x-stainless-retry-count": "0",
        "x-stainless-read-timeout": "600",
        "x-stainless-async": "false",
    },
    "a trace": {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "b3": "0"},
    "an origin": {"origin": "https://app.example", "referer": "https://app.example/"},
    "a cookie": {"cookie": "session=1"},
    "no cache": {"cache-control": "no-cache", "pragma": "no-cache"},
    "a name that HTTP allows and gRPC does not": {"x~!#$%&'*+^`|y": "1"},
    "a condition": {"if-none-match": '"x"', "range": "bytes=0-1"},
}


@pytest.fixture(scope="module")
def usual(http):
    return http.post("/v1/embeddings", json=GOOD).json()


@pytest.mark.parametrize("headers", TAKEN.values(), ids=TAKEN)
def test_headers_of_clients_change_nothing(http, usual, headers):
    response = http.post("/v1/embeddings", json=GOOD, headers=headers)
    assert (response.status_code, response.json()) == (200, usual)
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "user_agent", ["", "curl/8.5.0", "python-requests/2.32", "okhttp/4.12", "Rob0tics/1"]
)
def test_clients_of_every_name_are_served(http, usual, user_agent):
    response = http.post("/v1/embeddings", json=GOOD, headers={"user-agent": user_agent})
    assert (response.status_code, response.json()) == (200, usual)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer  "])
def test_the_key_is_taken_as_rfc_9110_writes_it(stranger, usual, state, scheme):
    headers = {"authorization": scheme + state.api_key}
    response = stranger.post("/v1/embeddings", json=GOOD, headers=headers)
    assert (response.status_code, response.json()) == (200, usual)


def test_who_has_no_key_is_told_the_scheme(stranger, error_of):
    response = stranger.post("/v1/embeddings", json=GOOD)
    assert (response.status_code, error_of(response)["code"]) == (401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/models", "/health", "/v1/nothing"])
@pytest.mark.parametrize("given", ["mine-1", "req_0123456789abcdef", "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"])
def test_the_callers_request_id_comes_back(http, path, given):
    response = http.post(path, json=GOOD, headers={"x-request-id": given})
    assert response.headers["x-request-id"] == given


def test_every_request_without_an_id_gets_one_of_its_own(pair):
    ids = [httpx.get(f"{pair.url}/health").headers["x-request-id"] for _ in range(5)]
    assert len({uuid.UUID(given) for given in ids}) == 5


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/models", f"/v1/models/{MODEL}", "/health"])
def test_head_is_told_what_there_is(http, path):
    response = http.head(path)
    assert (response.status_code, response.content) == (405, b"")
    assert response.headers["allow"] == ("POST" if path == "/v1/embeddings" else "GET")


# A method and an address, and the status.
ADDRESSES = {
    "a version that Azure's clients add": (("POST", "/v1/embeddings?api-version=2024-10-21"), 200),
    "fields in the query, which are none": (("POST", "/v1/embeddings?model=nope&input=x&user=y"), 200),
    "a query that is empty": (("POST", "/v1/embeddings?"), 200),
    "no version": (("POST", "/embeddings"), 200),
    "two slashes": (("POST", "//v1//embeddings"), 200),
    "dots": (("POST", "/v1/models/../embeddings"), 200),
    "escapes": (("POST", "/v1/%65mbeddings"), 200),
    "a slash at the end": (("POST", "/v1/embeddings/"), 404),
    "capitals": (("POST", "/V1/Embeddings"), 404),
    "the version twice": (("POST", "/v1/v1/embeddings"), 404),
    "Azure's": (("POST", f"/openai/deployments/{MODEL}/embeddings?api-version=2024-10-21"), 404),
    "of old SDKs": (("POST", f"/v1/engines/{MODEL}/embeddings"), 404),
    "another API of OpenAI's": (("POST", "/v1/chat/completions"), 404),
    "pages of models": (("GET", "/v1/models?limit=1&after=x"), 200),
    "a model and a query": (("GET", f"/v1/models/{MODEL}?model=other&x=1"), 200),
    "a model with a slash": (("GET", f"/v1/models/sentence-transformers/{MODEL}"), 200),
    "a model with its slash escaped": (("GET", f"/v1/models/sentence-transformers%2F{MODEL}"), 200),
    "a model in letters of the whole world": (("GET", "/v1/models/模型-ü-🦊"), 404),
    "a model with spaces": (("GET", "/v1/models/a%20model"), 404),
    "a model with a colon": (("GET", "/v1/models/ft:gpt-4o:org::id"), 404),
    "a model that is no UTF-8": (("GET", "/v1/models/%ff"), 400),
    "a long model": (("GET", "/v1/models/" + "x" * 5000), 404),
}


@pytest.mark.parametrize(("line", "status"), ADDRESSES.values(), ids=ADDRESSES)
def test_addresses_mean_what_they_say(http, error_of, usual, line, status):
    response = http.request(*line, json=GOOD if "POST" in line else None)
    assert response.status_code == status
    if status != 200:
        assert error_of(response)["type"] == "invalid_request_error"
    elif "POST" in line:
        assert response.json() == usual


@pytest.mark.parametrize("name", ["模型-ü-🦊", "a model", "ft:gpt-4o:org::id"])
def test_a_model_that_is_not_there_is_named_as_it_was_asked_for(http, error_of, name):
    error = error_of(http.get(f"/v1/models/{name}"))
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert f"'{name}' does not exist" in error["message"]


@pytest.mark.parametrize(
    "line", [("GET", "/v1/models"), ("GET", "/v1/models/none"), ("POST", "/v1/embeddings")]
)
def test_answers_have_the_headers_that_openai_documents(http, line):
    headers = http.request(*line, json=GOOD).headers
    assert headers["openai-version"] == "2020-10-01"
    assert 0 <= int(headers["openai-processing-ms"]) < 60_000


def test_both_servers_answer_and_alike(http, pair):
    seen = Counter(http.get("/v1/models").text for _ in range(20))
    assert len(seen) == 1
    calls = 'embeddings_requests_total{code="OK",rpc="ListOpenAIModels"}'
    assert all(server.sample(calls) > 0 for server in pair.servers)
