"""An attacker's list through Envoy: none of it gets in, and no log has a key of it."""

import json
import time
from dataclasses import dataclass

import httpx
import pytest
from support import pki as files
from support.programs import run_edge, run_server
from support.trust import AUTHORIZATIONS, ELSEWHERE, ENVOYS, WRONG, bearer, make_key, parts_of, rows

from embedsvc.keys import token

MODEL = "all-MiniLM-L6-v2"
GOOD = {"model": MODEL, "input": "a"}
READS = ["/v1/models", f"/v1/models/{MODEL}"]
CALLS = 1 + len(READS)


@pytest.fixture
def answers_of(stranger, error_of):
    """Sends every call with some headers; returns the statuses, and checks that refusals are OpenAI's."""

    def send(headers, **fields):
        found = [
            settled(lambda: stranger.post("/v1/embeddings", headers=headers, json=GOOD, **fields)),
            *(settled(lambda path=path: stranger.get(path, headers=headers, **fields)) for path in READS),
        ]
        for response in found:
            if response.status_code != 200:
                assert error_of(response)["code"] in ("invalid_api_key", None)
        return [response.status_code for response in found]

    return send


def settled(request):
    """What becomes of a request at last: a key's first use may be told to come back, on a busy machine."""
    for _ in range(100):
        response = request()
        if response.status_code != 503:
            break
    return response


@pytest.mark.parametrize("form", AUTHORIZATIONS.values(), ids=AUTHORIZATIONS)
def test_what_is_not_one_key_behind_bearer_is_none(answers_of, state, form):
    headers = {"authorization": form.format(**parts_of(state.api_key)).strip()}
    assert answers_of(headers) == [401] * CALLS


@pytest.mark.parametrize("order", [("good", "wrong"), ("wrong", "good"), ("good", "good")])
def test_several_authorization_headers_are_no_key(answers_of, state, order):
    values = {"good": f"Bearer {state.api_key}", "wrong": f"Bearer {WRONG}"}
    assert answers_of([("authorization", values[name]) for name in order]) == [401] * CALLS


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_key_in_another_header_is_none(answers_of, state, name):
    for value in (state.api_key, f"Bearer {state.api_key}", f"authorization={state.api_key}"):
        assert answers_of({name: value}) == [401] * CALLS


@pytest.mark.parametrize("name", ["api_key", "key", "api-key", "access_token", "authorization", "token"])
def test_a_key_in_the_query_or_the_body_is_none(answers_of, stranger, state, name):
    for value in (state.api_key, f"Bearer {state.api_key}"):
        assert answers_of({}, params={name: value}) == [401] * CALLS
        response = stranger.post("/v1/embeddings", json={**GOOD, name: value})
        assert response.status_code == 401


def test_a_key_in_the_address_is_none(stranger, edge, state):
    address = f"127.0.0.1:{edge.port}/v1/models"
    for url in (f"http://{state.api_key}@{address}", f"http://user:{state.api_key}@{address}"):
        assert stranger.get(url).status_code == 401
    assert stranger.get(f"/{state.api_key}/v1/models").status_code == 404
    assert stranger.get(f"/v1/models/{state.api_key}").status_code == 401


PRETENDED = {
    **ENVOYS,
    "x-envoy-decorator-operation": "GetHealth",
    "x-envoy-retry-on": "5xx",
    "x-envoy-upstream-alt-stat-name": "x",
    "x-embedsvc-signer": "envoy",
    "x-embedsvc-signature": "v1=" + "0" * 64,
    "x-openai-error": "{}",
    "grpc-status": "0",
}


def test_headers_of_envoys_own_say_nothing_of_who_calls(answers_of):
    for headers in (*({name: value} for name, value in PRETENDED.items()), PRETENDED):
        assert answers_of(headers) == [401] * CALLS


def test_headers_of_envoys_own_change_nothing_for_who_has_a_key(answers_of, state):
    for name in ("x-envoy-upstream-rq-timeout-ms", "x-envoy-expected-rq-timeout-ms", "x-envoy-max-retries"):
        assert answers_of({**dict(state.authorization), name: "1"}) == [200] * CALLS


def test_nobody_signs_for_envoy(answers_of, state):
    for name in ("x-embedsvc-signer", "x-embedsvc-time", "x-embedsvc-nonce", "x-embedsvc-signature"):
        assert answers_of({**dict(state.authorization), name: "envoy"}) == [401] * CALLS


@pytest.mark.parametrize("path", ["EmbeddingService/Embed", "ModelService/ListModels"])
def test_calls_that_have_no_route_have_no_way_in_with_a_content_type_of_grpc_either(http, path):
    headers = {"content-type": "application/grpc"}
    response = http.post(f"/embedsvc.v1.{path}", content=bytes(5), headers=headers)
    assert response.headers["grpc-status"] != "0"
    assert not response.content


async def test_what_a_key_may_not_is_a_permission_error(answers_of, stranger, error_of, state):
    reading = await make_key(state, "reading", calls=("models",))
    assert answers_of(dict(bearer(reading))) == [403, 200, 200]
    writing = await make_key(state, "writing", calls=("embed",), models=("all-mpnet-base-v2",))
    assert answers_of(dict(bearer(writing))) == [403] * CALLS
    for key, param in ((reading, None), (writing, "model")):
        response = stranger.post("/v1/embeddings", json=GOOD, headers=dict(bearer(key)))
        error = error_of(response)
        assert (error["type"], error["code"], error["param"]) == ("permission_error", None, param)


async def test_a_key_that_has_expired_or_was_revoked_is_no_key(answers_of, state):
    for ended in ({"expires_at": time.time()}, {"revoked_at": time.time()}):
        assert answers_of(dict(bearer(await make_key(state, **ended)))) == [401] * CALLS


ABROAD = "203.0.113.9"
FORGED = {
    "the end of a string": b'id","event":"forged',
    "an escape sequence": b"\x1b[31mforged",
    "a line": b"id\n{}forged",
    "a tab": b"id\tforged",
    "text that runs backwards": "\u202edegrof".encode(),
}


@dataclass
class Aftermath:
    """What a server and an Envoy that run no more have written down."""

    state: files.State
    logs: dict[str, str]


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory):
    """Keys in every part of a request, and ids and names that look like lines of a log."""
    folder = tmp_path_factory.mktemp("aftermath")
    state = files.make(folder)
    with run_server(state, folder, encoder="fake") as server, run_edge(server, state, folder) as edge:
        with httpx.Client(base_url=edge.url) as client:
            leak(client, state.api_key)
            client.get("/v1/models", headers={**dict(bearer(WRONG)), "x-forwarded-for": ABROAD})
            forge(client, FORGED)
        with httpx.Client(base_url=edge.url, http1=False, http2=True) as client:
            forge(client, {"a line"})  # which HTTP/1 cannot carry
    return Aftermath(state, {path.name: path.read_text() for path in (server.log, edge.log)})


def leak(client, key):
    for name in ELSEWHERE:
        client.get("/v1/models", headers={name: key})
    for url in ("/v1/models", "/nothing", "/health"):
        client.get(url, params={"api_key": key, key: "1"})
    for path in ("/{}", "/v1/{}/models", "/v1/models/{}", "/v1/embeddings;{}"):
        client.get(path.format(key))
    for scheme in ("Basic", "Token", "Bearer x"):
        client.post("/v1/embeddings", json=GOOD, headers={"authorization": f"{scheme} {key}"})
    client.post("/v1/embeddings", json={**GOOD, "user": key, "model": key}, headers=dict(bearer(key)))
    client.post("/v1/embeddings", json={**GOOD, "input": key}, headers={"referer": key, "user-agent": key})


def forge(client, names):
    for value in map(FORGED.__getitem__, names):
        sent = {b"x-request-id": value, b"user-agent": value, b"authorization": b"Bearer " + value}
        try:
            client.get("/v1/models", headers=sent)
        except httpx.HTTPError:  # neither httpx nor Envoy takes everything
            assert client.get("/health").status_code == 200


def test_no_log_has_a_key(aftermath):
    for log in aftermath.logs.values():
        assert aftermath.state.api_key[len("emb_") :] not in log


def test_every_line_of_a_log_is_still_one_of_its_own(aftermath):
    for log in aftermath.logs.values():
        lines = [json.loads(line) for line in log.split("\n") if line.startswith("{")]
        assert lines
        assert not [line for line in lines if line.get("event") == "forged"]
        assert "\x1b" not in log


def test_the_server_logs_no_id_but_an_orderly_one(aftermath):
    assert "forged" not in aftermath.logs["server.log"]
    assert "degrof" not in aftermath.logs["server.log"]


def test_whence_a_guess_came_is_what_envoy_saw(aftermath):
    failures = [row for row in rows(aftermath.state, "failures") if row["prefix"] == token.prefix(WRONG)]
    assert [(row["reason"], row["count"]) for row in failures] == [("unknown_key", 1)]
    assert failures[0]["address"] not in (ABROAD, "")


def test_the_ledger_has_no_key_of_a_request(aftermath):
    assert aftermath.state.api_key.encode() not in aftermath.state.read("embedsvc.db")
