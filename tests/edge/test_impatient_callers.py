"""Callers that do not wait: a deadline that is past, one that passes, and connections that break."""

import json
import socket
import time

import httpx
import pytest

pytestmark = pytest.mark.usefixtures("undisturbed")


def texts(count):
    """Long ones, none of which is another: each is computed."""
    return [f"{number} " + "word " * 300 for number in range(count)]


SOME = {"model": "all-MiniLM-L6-v2", "input": texts(32)}
LONG = {"model": "all-MiniLM-L6-v2", "input": texts(500)}  # many seconds of work
CANCELLED = 'embeddings_requests_total{code="CANCELLED",rpc="CreateEmbedding"}'
COMPUTED = 'embeddings_batch_size_sum{model="all-MiniLM-L6-v2"}'
CALLS = 'embeddings_duration_seconds_count{rpc="CreateEmbedding"}'
BROKEN_OFF = "http.rest.downstream_cx_destroy_remote_active_rq"
IN_FLIGHT = 'embeddings_in_flight{rpc="CreateEmbedding"}'


def wait_until(true, seconds=10):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refuse_as_timeout(http, error_of, body, timeout):
    response = http.post("/v1/embeddings", json=body, headers={"grpc-timeout": timeout})
    error = error_of(response)
    assert response.status_code == 504
    assert (error["type"], error["code"], error["param"]) == ("server_error", "timeout", None)


@pytest.mark.parametrize("body", [SOME, LONG], ids=["little work", "much work"])
def test_a_deadline_already_past_is_a_timeout(http, error_of, body):
    # Envoy, gRPC and the server each watch the deadline: whoever is first must answer alike.
    for _ in range(20):
        refuse_as_timeout(http, error_of, body, "1n")


def test_a_deadline_that_passes_during_the_work_is_a_timeout(http, error_of):
    refuse_as_timeout(http, error_of, LONG, "200m")


def test_the_work_of_a_caller_that_goes_away_is_dropped(http, server, embed):
    cancelled, computed = server.sample(CANCELLED), server.sample(COMPUTED)
    with pytest.raises(httpx.ReadTimeout):
        http.post("/v1/embeddings", json=LONG, timeout=0.5)
    wait_until(lambda: server.sample(CANCELLED) == cancelled + 1)
    assert server.sample(IN_FLIGHT) == 0
    embed("a")  # whoever comes next waits for the batch under way, and for no more
    assert server.sample(COMPUTED) - computed < len(LONG["input"]) / 2


def broken_off(edge):
    """How many requests Envoy has seen end with their connection."""
    stats = httpx.get(f"http://127.0.0.1:{edge.admin_port}/stats", params={"filter": BROKEN_OFF}).text
    return int(stats.rpartition(": ")[2])


def test_a_request_that_breaks_off_never_reaches_the_server(edge, state, server):
    before, calls = broken_off(edge), server.sample(CALLS)
    body = json.dumps(LONG).encode()
    head = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {state.api_key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", edge.port)) as connection:
        connection.sendall(head.encode() + body[: len(body) // 2])
    wait_until(lambda: broken_off(edge) == before + 1)
    assert server.sample(CALLS) == calls
