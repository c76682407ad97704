"""The engineer's way in: the real grpcurl, over mTLS, with reflection."""

import dataclasses
import json

import pytest
from support.grpcurl import Grpcurl

EMBED, STREAM = (f"embedsvc.v1.EmbeddingService/{method}" for method in ("Embed", "EmbedStream"))
MODEL = "all-MiniLM-L6-v2"


def batch(*texts):
    return {"inputs": [{"text": text} for text in texts]}


@pytest.fixture
def grpcurl(server, state):
    return Grpcurl(server.address, state)


@pytest.fixture
def keyless(grpcurl):
    return dataclasses.replace(grpcurl, key=False)


def test_services_are_listed_without_a_key(keyless):
    assert set(keyless.told("list").split()) == {
        "embedsvc.v1.EmbeddingService",
        "embedsvc.v1.ModelService",
        "embedsvc.v1.OpenAIService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_methods_of_a_service_are_listed(keyless):
    assert keyless.told("list embedsvc.v1.EmbeddingService").split() == [
        "embedsvc.v1.EmbeddingService.Embed",
        "embedsvc.v1.EmbeddingService.EmbedStream",
    ]


def test_services_and_messages_are_described(keyless):
    stream = "rpc EmbedStream ( stream .embedsvc.v1.EmbedStreamRequest ) returns ( stream"
    assert stream in keyless.told("describe embedsvc.v1.EmbeddingService")
    assert "repeated .embedsvc.v1.Input inputs = 2;" in keyless.told("describe embedsvc.v1.EmbedRequest")


def test_a_template_of_a_request_is_shown(keyless):
    shown = keyless.told("-msg-template", "describe embedsvc.v1.EmbedRequest")
    template = json.loads(shown.partition("Message template:")[2])
    assert {"model", "inputs", "truncation", "output_type"} <= template.keys()


def test_the_server_says_that_it_serves(keyless):
    assert keyless.call("grpc.health.v1.Health/Check") == [{"status": "SERVING"}]


def test_a_text_is_embedded(grpcurl):
    (answer,) = grpcurl.call(EMBED, batch("Hello, world"))
    assert len(answer["embeddings"][0]["values"]) == 384
    assert answer["model"] == MODEL


def test_models_are_listed(grpcurl):
    (answer,) = grpcurl.call("embedsvc.v1.ModelService/ListModels")
    assert [model["name"] for model in answer["models"]] == [MODEL]


def test_a_stream_is_answered_around_a_bad_batch(grpcurl):
    batches = {"first": batch("a"), "bad": batch(""), "last": batch("b")}
    sent = [{"id": name, "request": request} for name, request in batches.items()]
    answers = {answer["id"]: answer for answer in grpcurl.call(STREAM, *sent)}
    assert answers.keys() == batches.keys()
    assert [len(answers[name]["response"]["embeddings"]) for name in ("first", "last")] == [1, 1]
    assert answers["bad"]["error"]["message"] == "inputs[0] must not be an empty string"


def test_a_failure_shows_its_details(grpcurl):
    ended = grpcurl.run("-d", json.dumps(batch("")), EMBED)
    assert ended.returncode != 0
    assert "InvalidArgument" in ended.stderr
    assert "inputs[0]" in ended.stderr
    assert "INVALID_REQUEST" in ended.stderr


def test_a_failure_is_json_where_that_is_asked_for(keyless):
    error = json.loads(keyless.run("-format-error", "-d", json.dumps(batch("a")), EMBED).stderr)
    assert error["code"] == 16
    (info,) = error["details"]
    assert (info["reason"], info["domain"]) == ("INVALID_API_KEY", "embedsvc")


def test_a_request_id_comes_back(grpcurl):
    shown = grpcurl.told("-v", "-H", "x-request-id: mine-1", "-d", json.dumps(batch("a")), EMBED)
    assert "x-request-id: mine-1" in shown.partition("Response trailers received:")[2]


@pytest.mark.parametrize("client", ["stranger", None])
def test_a_certificate_of_another_ca_or_none_gets_no_connection(grpcurl, client):
    ended = dataclasses.replace(grpcurl, client=client).run("-connect-timeout", "2", "list")
    assert ended.returncode != 0
    assert ended.stdout == ""
