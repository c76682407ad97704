"""What lies between Envoy and the servers: health checks, headers, the size of messages."""

import urllib.request

import pytest

pytestmark = pytest.mark.usefixtures("undisturbed")


@pytest.fixture
def stat(edge):
    def read(name):
        url = f"http://127.0.0.1:{edge.admin_port}/stats?filter=^cluster.embedsvc.{name}$"
        with urllib.request.urlopen(url) as response:
            return int(response.read().rpartition(b": ")[2])

    return read


def test_envoy_sees_that_the_server_is_healthy(stat):
    assert stat("health_check.success") > 0
    assert stat("membership_healthy") == 1
    assert stat("lb_healthy_panic") == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-some-bin", "!!!"),
        ("grpc-timeout", "abc"),
        ("grpc-timeout", "123456789S"),
        ("grpc-status", "!"),
        ("grpc-previous-rpc-attempts", "x"),
        ("grpc-encoding", "gzip"),
        ("grpc-tags-bin", "!!!"),
        ("x-embedsvc-compression", "zip"),
        ("x-openai-error", "{}"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
    ],
)
def test_headers_of_a_caller_mean_nothing_to_grpc(http, name, value):
    response = http.post(
        "/v1/embeddings", json={"model": "all-MiniLM-L6-v2", "input": "a"}, headers={name: value}
    )
    assert response.status_code == 200


def test_what_envoy_says_of_a_request_is_not_the_callers_to_say(http, error_of):
    forged = {"x-envoy-original-method": "EVIL", "x-envoy-original-path": "/evil"}
    response = http.get("/nope", headers=forged)
    assert error_of(response)["message"] == "Invalid URL (GET /nope)"


def test_a_query_does_not_name_the_model(http):
    response = http.get("/v1/models/all-MiniLM-L6-v2", params={"model": "text-embedding-3-small"})
    assert response.json()["id"] == "all-MiniLM-L6-v2"


def test_token_ids_that_grow_in_transcoding_are_let_through(http):
    documents = [[100] * 100 for _ in range(1500)]
    response = http.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": documents})
    assert response.status_code == 200
    assert len(response.json()["data"]) == 1500
