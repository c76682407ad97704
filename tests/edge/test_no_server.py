"""Envoy alone: what callers are told while no server is behind it."""

from contextlib import ExitStack

import httpx
import pytest
from support.programs import run_edge, run_server


@pytest.fixture(scope="module")
def lonely(state, tmp_path_factory):
    """A client of an Envoy whose only server has been stopped."""
    folder = tmp_path_factory.mktemp("lonely")
    with ExitStack() as stack:
        with run_server(state, folder, encoder="fake") as server:
            edge = stack.enter_context(run_edge(server, state, folder))
        headers = {"authorization": f"Bearer {state.api_key}", "x-request-id": "lonely-1"}
        yield stack.enter_context(httpx.Client(base_url=edge.url, headers=headers))


ROUTES = [("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("GET", "/health")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_callers_are_asked_to_try_again(lonely, error_of, method, path):
    body = {"model": "all-MiniLM-L6-v2", "input": "a"} if method == "POST" else None
    response = lonely.request(method, path, json=body)
    error = error_of(response)
    assert response.status_code == 503
    assert (error["type"], error["code"], error["param"]) == ("server_error", "overloaded", None)
    assert error["message"] == "no server can be reached; try again"
    assert int(response.headers["retry-after"]) >= 1


def test_what_can_be_refused_without_a_server_still_is(lonely, error_of):
    response = lonely.get("/v1/nothing")
    assert (response.status_code, error_of(response)["message"]) == (404, "Invalid URL (GET /v1/nothing)")


def test_an_envoy_with_a_certificate_of_another_ca_reaches_no_server(fake_server, state, error_of, tmp_path):
    stranger = {"EDGE__CERTIFICATE": state.path("stranger.crt"), "EDGE__KEY": state.path("stranger.key")}
    headers = {"authorization": f"Bearer {state.api_key}", "x-request-id": "stranger-1"}
    with run_edge(fake_server, state, tmp_path, refused=True, **stranger) as edge:
        body = {"model": "all-MiniLM-L6-v2", "input": "a"}
        response = httpx.post(f"{edge.url}/v1/embeddings", json=body, headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (503, "overloaded")


def test_an_envoy_does_not_trust_a_server_of_another_ca(fake_server, state, error_of, tmp_path):
    headers = {"authorization": f"Bearer {state.api_key}", "x-request-id": "stranger-2"}
    trusted = {"EDGE__CA": state.path("stranger.crt")}
    with run_edge(fake_server, state, tmp_path, refused=True, **trusted) as edge:
        body = {"model": "all-MiniLM-L6-v2", "input": "a"}
        response = httpx.post(f"{edge.url}/v1/embeddings", json=body, headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (503, "overloaded")
