"""Logs tell requests apart by their ids, and hold neither texts nor keys."""

import httpx
import pytest
from support.programs import run_edge

SECRET = "Xylophone-4711"


FIELDS = [
    {"input": SECRET},
    {"input": [SECRET, ""]},
    {"input": SECRET * 600},
    {"input": SECRET * 100, "truncation": "none"},
    {"input": {SECRET: SECRET}},
    {"input": "a", "user": SECRET},
    {"input": "a", "encoding_format": SECRET},
    {"input": "a", "dimensions": SECRET},
]
BROKEN = f'{{"input": "{SECRET}'.encode()
AUTHORIZATIONS = [f"Bearer {SECRET}", f"Basic {SECRET}", SECRET]


@pytest.fixture
def logs_of(server, state, tmp_path):
    """Lets a test send requests, and returns what server and Envoy logged of them."""

    def run(send):
        with run_edge(server, state, tmp_path) as edge:  # its log is whole when it has ended
            headers = {"authorization": f"Bearer {state.api_key}", "x-request-id": "logged-1"}
            with httpx.Client(base_url=edge.url, headers=headers) as http:
                send(http)
        return server.log.read_text(), edge.log.read_text()

    return run


def test_logs_hold_the_request_id_but_no_text_and_no_key(logs_of, state):
    def send(http):
        for fields in FIELDS:
            http.post("/v1/embeddings", json={"model": "all-MiniLM-L6-v2", **fields})
        http.post("/v1/embeddings", content=BROKEN)
        for authorization in AUTHORIZATIONS:
            http.get("/v1/models", headers={"authorization": authorization})

    for log in logs_of(send):
        assert log.count("logged-1") >= len(FIELDS) + len(AUTHORIZATIONS)
        assert SECRET not in log
        assert state.api_key not in log


def test_a_key_or_text_in_a_query_string_is_not_logged(logs_of):
    def send(http):
        http.get("/v1/models", params={"api_key": SECRET})
        http.get("/nothing", params={"input": SECRET})

    for log in logs_of(send):
        assert SECRET not in log
