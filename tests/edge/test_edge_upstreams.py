"""Servers that fail: which are taken out, which are asked no more, and what callers notice."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import grpc
import httpx
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from support.programs import free_port, run_edge
from support.trust import until

from embedsvc.v1 import embedding_pb2, embedding_pb2_grpc

GOOD = {"model": "all-MiniLM-L6-v2", "input": "a"}


@dataclass
class Failing:
    """A stand-in for a server: well in its own eyes, and every call fails. A real one cannot be made to."""

    address: str
    server: grpc.Server
    asked: int = 0


class Refuses(grpc.GenericRpcHandler):
    """Answers every call with one status, in trailers alone, as ours does."""

    def __init__(self, failing, code):
        self._failing = failing
        self._code = code

    def service(self, details):
        def refuse(_, context):
            self._failing.asked += 1
            context.abort(self._code, "as asked")

        if details.method.startswith("/embedsvc."):
            return grpc.unary_stream_rpc_method_handler(refuse)
        return None


@contextmanager
def failing(state, code):
    server = grpc.server(ThreadPoolExecutor(4))
    found = Failing(f"127.0.0.1:{free_port()}", server)
    well = health.HealthServicer()
    well.set("embedsvc.v1.OpenAIService", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(well, server)
    server.add_generic_rpc_handlers([Refuses(found, code)])
    pair = [(state.read("server.key"), state.read("server.crt"))]
    credentials = grpc.ssl_server_credentials(pair, state.read("ca.crt"), require_client_auth=True)
    server.add_secure_port(found.address, credentials)
    server.start()
    yield found
    server.stop(None).wait()


@pytest.fixture
def ask(state):
    """Sends requests, one after the other; returns their statuses."""

    async def send(edge, count=40):
        headers = {"authorization": f"Bearer {state.api_key}"}
        async with httpx.AsyncClient(base_url=edge.url, headers=headers, timeout=30) as http:
            return [(await http.post("/v1/embeddings", json=GOOD)).status_code for _ in range(count)]

    return send


def out(edge):
    """How many servers are out for their failures."""
    return edge.stats("cluster.embedsvc.outlier_detection.ejections_active").popitem()[1]


async def test_where_a_server_has_no_room_another_is_asked_and_it_stays(fake_server, state, tmp_path, ask):
    with (
        failing(state, grpc.StatusCode.UNAVAILABLE) as bad,
        run_edge([fake_server, bad], state, tmp_path) as edge,
    ):
        assert set(await ask(edge)) == {200}
        assert bad.asked > 3
        assert out(edge) == 0


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT])
async def test_what_a_text_has_done_is_not_tried_again_nor_held_against_a_server(
    fake_server, state, tmp_path, ask, code
):
    with failing(state, code) as bad, run_edge([fake_server, bad], state, tmp_path) as edge:
        assert (await ask(edge)).count(200) == 40 - bad.asked
        assert bad.asked > 3
        assert out(edge) == 0


async def test_a_server_that_cannot_be_reached_three_times_is_out_and_no_caller_notices(
    fake_server, state, tmp_path, ask
):
    with ExitStack() as gone, failing(state, grpc.StatusCode.INTERNAL) as bad:
        edge = gone.enter_context(run_edge([fake_server, bad], state, tmp_path))
        bad.server.stop(None).wait()
        assert set(await ask(edge)) == {200}
        failures = edge.stats(".*detected_consecutive_local_origin_failure").popitem()[1]
        assert (failures, out(edge)) == (1, 1)


async def test_half_of_the_servers_stay_whatever_happens(state, tmp_path, ask):
    internal = grpc.StatusCode.INTERNAL
    with failing(state, internal) as one, failing(state, internal) as two, ExitStack() as stack:
        edge = stack.enter_context(run_edge([one, two], state, tmp_path))
        for each in (one, two):
            each.server.stop(None).wait()
        assert set(await ask(edge)) == {503}
        assert out(edge) == 1


async def test_a_server_that_is_gone_is_noticed_without_a_callers_help(fake_server, state, tmp_path):
    with failing(state, grpc.StatusCode.INTERNAL) as bad, ExitStack() as stack:
        edge = stack.enter_context(run_edge([fake_server, bad], state, tmp_path))
        bad.server.stop(None).wait()
        await until(lambda: edge.stats("cluster.embedsvc.membership_healthy").popitem()[1] == 1)
        assert bad.asked == 0


@pytest.mark.parametrize(("metadata", "asked"), [((), 3), ((("x-embedsvc-signature", "v1=0"),), 1)])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_signed_call_that_a_server_has_seen_is_not_sent_to_another(
    state, tmp_path, stream, metadata, asked
):
    unavailable = grpc.StatusCode.UNAVAILABLE
    with failing(state, unavailable) as one, failing(state, unavailable) as two, ExitStack() as stack:
        edge = stack.enter_context(run_edge([one, two], state, tmp_path))
        async with edge.channel() as channel:
            stub = embedding_pb2_grpc.EmbeddingServiceStub(channel)
            if stream:
                call = stub.EmbedStream(iter([embedding_pb2.EmbedStreamRequest()]), metadata=metadata)
            else:
                call = stub.Embed(embedding_pb2.EmbedRequest(), metadata=metadata)
            assert await call.code() == unavailable
        assert one.asked + two.asked == asked
