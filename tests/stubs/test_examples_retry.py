"""examples/: what is tried again, and what is not, at a server that refuses some calls and then answers."""

import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_status import rpc_status
from support.stubs import EXAMPLES

from embedsvc.errors import OverloadedError, RateLimitedError
from embedsvc.status import to_status
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1 import embedding_pb2_grpc, model_pb2
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceServicer

BUSY = OverloadedError("the queue is full", retry_after=0.5)
LIMITED = RateLimitedError("over the limit", retry_after=60)
ANSWER = pb.EmbedResponse(embeddings=[pb.Embedding(values=[1, 2, 3, 4])])


class Refusing(EmbeddingServiceServicer):
    """Refuses the first calls with an error as the real server tells it."""

    def __init__(self, refusals, error):
        self.left, self.error, self.calls = refusals, error, 0

    def Embed(self, request, context):  # noqa: N802 - gRPC's name
        self.calls += 1
        if self.calls <= self.left:
            context.abort_with_status(rpc_status.to_status(to_status(self.error)))
        return ANSWER

    def EmbedStream(self, request_iterator, context):  # noqa: N802 - gRPC's name
        for request in request_iterator:
            yield pb.EmbedStreamResponse(id=request.id, response=ANSWER)


@pytest.fixture
def refusing(state):
    """Starts such servers; returns the servicer and its address."""
    server = grpc.server(ThreadPoolExecutor(4))
    pair = (state.read("server.key"), state.read("server.crt"))
    credentials = grpc.ssl_server_credentials([pair], state.read("ca.crt"), require_client_auth=True)
    address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"

    def start(refusals, error):
        servicer = Refusing(refusals, error)
        embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(servicer, server)
        server.start()
        return servicer, address

    yield start
    server.stop(0).wait()


def test_a_busy_server_is_asked_again_until_it_answers(caller, refusing, state):
    servicer, address = refusing(3, BUSY)
    answers = caller.call(address, state)
    assert answers[0] == ("Embed", [[1, 2, 3, 4]])
    assert servicer.calls == 3 + 2


def test_a_server_that_stays_busy_is_given_up_and_says_when_to_come_back(caller, refusing, state):
    servicer, address = refusing(4, BUSY)
    (_, failure), (_, answer), *_ = caller.call(address, state)
    assert (failure["reason"], failure["message"]) == ("OVERLOADED", "the queue is full")
    assert failure["retrySeconds"] == 0.5
    assert answer == [[1, 2, 3, 4]]
    assert servicer.calls == 4 + 1


def test_a_limit_is_told_and_not_tried_again(caller, refusing, state):
    servicer, address = refusing(1, LIMITED)
    (_, failure), *_ = caller.call(address, state)
    assert (failure["reason"], failure["retrySeconds"]) == ("RATE_LIMIT_EXCEEDED", 60)
    assert servicer.calls == 2


def test_the_service_config_names_methods_that_there_are():
    known = {
        (service.full_name, method)
        for file in (pb.DESCRIPTOR, model_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
        for method in (*service.methods_by_name, None)
    }
    config = json.loads((EXAMPLES / "service_config.json").read_text())
    named = {(name["service"], name.get("method")) for one in config["methodConfig"] for name in one["name"]}
    assert named <= known
