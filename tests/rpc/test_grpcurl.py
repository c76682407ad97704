"""The engineer's way in: the real grpcurl, over mTLS, with reflection."""

import json
import subprocess

import pytest
from support.programs import BIN


@pytest.fixture
def grpcurl(server, state):
    def run(*arguments, key=True, client="client"):
        certificates = [
            f"-{name}={state.path(file)}"
            for name, file in (("cacert", "ca.crt"), ("cert", f"{client}.crt"), ("key", f"{client}.key"))
        ]
        header = ["-H", f"authorization: Bearer {state.api_key}"] if key else []
        options, target = arguments[:-1], arguments[-1]
        command = [BIN / "grpcurl", *certificates, *header, *options, server.address, *target.split()]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    return run


def test_services_are_listed_without_a_key(grpcurl):
    assert set(grpcurl("list", key=False).stdout.split()) == {
        "embedsvc.v1.EmbeddingService",
        "embedsvc.v1.ModelService",
        "embedsvc.v1.OpenAIService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_messages_are_described(grpcurl):
    assert "repeated .embedsvc.v1.Input inputs = 2;" in grpcurl("describe embedsvc.v1.EmbedRequest").stdout


def test_a_text_is_embedded(grpcurl):
    body = json.dumps({"inputs": [{"text": "Hello, world"}]})
    answer = json.loads(grpcurl("-d", body, "embedsvc.v1.EmbeddingService/Embed").stdout)
    assert len(answer["embeddings"][0]["values"]) == 384
    assert answer["model"] == "all-MiniLM-L6-v2"


def test_a_stream_is_answered(grpcurl):
    body = "".join(json.dumps({"id": name, "request": {"inputs": [{"text": name}]}}) for name in "abc")
    answers = grpcurl("-d", body, "embedsvc.v1.EmbeddingService/EmbedStream").stdout
    assert sorted(line.split('"')[3] for line in answers.splitlines() if line.startswith('  "id"')) == [
        *"abc"
    ]


def test_a_failure_shows_its_details(grpcurl):
    body = json.dumps({"inputs": [{"text": ""}]})
    ended = grpcurl("-d", body, "embedsvc.v1.EmbeddingService/Embed")
    assert ended.returncode != 0
    assert "InvalidArgument" in ended.stderr
    assert "inputs[0]" in ended.stderr
    assert "INVALID_REQUEST" in ended.stderr


def test_a_certificate_of_another_ca_gets_no_connection(grpcurl):
    assert grpcurl("list", client="stranger").returncode != 0
