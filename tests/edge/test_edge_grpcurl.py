"""Envoy's listener for gRPC, seen with the real grpcurl: what the servers themselves show."""

import dataclasses
import json

import pytest
from support.grpcurl import Grpcurl

EMBED, STREAM = (f"embedsvc.v1.EmbeddingService/{method}" for method in ("Embed", "EmbedStream"))


def batch(*texts):
    return {"inputs": [{"text": text} for text in texts]}


@pytest.fixture
def direct(server, state):
    return Grpcurl(server.address, state)


@pytest.fixture
def grpcurl(edge, direct):
    return dataclasses.replace(direct, address=f"127.0.0.1:{edge.grpc_port}")


@pytest.mark.parametrize(
    "asked",
    [
        "list",
        "list embedsvc.v1.ModelService",
        "describe embedsvc.v1.EmbeddingService",
        "describe embedsvc.v1.EmbedRequest",
    ],
)
def test_reflection_shows_what_the_server_shows_and_needs_no_key(grpcurl, direct, asked):
    shown = dataclasses.replace(grpcurl, key=False).told(asked)
    assert shown == direct.told(asked)


def test_health_is_that_of_the_servers(grpcurl):
    assert dataclasses.replace(grpcurl, key=False).call("grpc.health.v1.Health/Check") == [
        {"status": "SERVING"}
    ]


def test_a_text_has_the_vector_that_the_server_makes(grpcurl, direct):
    (through,), (straight,) = (one.call(EMBED, batch("Hello, world")) for one in (grpcurl, direct))
    (one,), (other,) = through["embeddings"], straight["embeddings"]
    assert one["values"] == pytest.approx(other["values"], abs=1e-6)


def test_a_stream_is_answered(grpcurl):
    sent = [{"id": name, "request": batch(name)} for name in "abc"]
    answers = grpcurl.call(STREAM, *sent)
    assert sorted(answer["id"] for answer in answers) == [*"abc"]
    assert all(len(answer["response"]["embeddings"]) == 1 for answer in answers)


def test_a_failure_comes_with_its_details(grpcurl):
    error = json.loads(grpcurl.run("-format-error", "-d", json.dumps(batch("")), EMBED).stderr)
    assert (error["code"], error["message"]) == (3, "inputs[0] must not be an empty string")
    info, bad = error["details"]
    assert info["reason"] == "INVALID_REQUEST"
    assert bad["field_violations"][0]["field"] == "inputs[0]"


def test_a_call_without_a_key_is_refused_by_the_server(grpcurl):
    keyless = dataclasses.replace(grpcurl, key=False)
    error = json.loads(keyless.run("-format-error", "-d", json.dumps(batch("a")), EMBED).stderr)
    assert (error["code"], error["details"][0]["reason"]) == (16, "INVALID_API_KEY")


def test_a_request_id_comes_back(grpcurl):
    shown = grpcurl.told("-v", "-H", "x-request-id: mine-2", "-d", json.dumps(batch("a")), EMBED)
    assert "x-request-id: mine-2" in shown.partition("Response trailers received:")[2]


def test_what_envoy_transcodes_is_not_called_here(grpcurl):
    ended = grpcurl.run("embedsvc.v1.OpenAIService/ListOpenAIModels")
    assert "Unimplemented" in ended.stderr


@pytest.mark.parametrize("client", ["stranger", None])
def test_a_certificate_of_another_ca_or_none_gets_no_connection(grpcurl, client):
    ended = dataclasses.replace(grpcurl, client=client).run("-connect-timeout", "2", "list")
    assert ended.returncode != 0
    assert ended.stdout == ""
