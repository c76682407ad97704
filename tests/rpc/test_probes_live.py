"""Kubernetes' probes, as kubelet asks: each a new connection in plaintext. Every test has its own server."""

import asyncio
import os
import signal
import subprocess
import time
from contextlib import closing, contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.programs import BIN, ROOT, free_port, run_server, settings_for

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

READINESS, LIVENESS = "embedsvc.v1.OpenAIService", "liveness"
ITEM = pb.EmbedStreamRequest(id="1", request=pb.EmbedRequest(inputs=[pb.Input(text="x")]))
TIMEOUT = 60


@pytest.fixture
def port():
    return free_port()


def probe(port, service):
    """What one probe is told, or the code of a connection or a call that failed."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with closing(grpc.insecure_channel(f"127.0.0.1:{port}", options)) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
        except grpc.RpcError as error:
            return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def until(true):
    deadline = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def logged(server, name):
    return [event for event in server.events() if event["event"] == name]


@contextmanager
def starting(state, port):
    """A server with a real model, which takes seconds to load, from its first moment on."""
    environment = os.environ | settings_for(state, SERVER__HEALTH_PORT=port)
    process = subprocess.Popen([BIN / "embedsvc", "serve"], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT)


def test_while_the_model_loads_it_is_alive_and_not_ready(state, port):
    with starting(state, port):
        until(lambda: probe(port, LIVENESS) == "SERVING")
        assert probe(port, READINESS) == "NOT_SERVING"
        until(lambda: probe(port, READINESS) == "SERVING")


def test_told_to_stop_while_it_loads_it_ends_well(state, port):
    with starting(state, port) as process:
        until(lambda: probe(port, LIVENESS) == "SERVING")
        process.terminate()
        process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert probe(port, LIVENESS) == "UNAVAILABLE"


async def test_through_the_drain_it_is_alive_and_not_ready(state, port, tmp_path):
    with run_server(state, tmp_path, encoder="fake", SERVER__HEALTH_PORT=port) as server:
        assert await asyncio.to_thread(probe, port, READINESS) == "SERVING"
        async with server.channel() as channel:
            call = EmbeddingServiceStub(channel).EmbedStream(metadata=state.authorization)
            await call.write(ITEM)
            assert (await call.read()).id == "1"
            server.process.terminate()
            until(lambda: logged(server, "draining"))
            assert await asyncio.to_thread(probe, port, READINESS) == "NOT_SERVING"
            assert await asyncio.to_thread(probe, port, LIVENESS) == "SERVING"
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
        assert await asyncio.to_thread(server.process.wait, TIMEOUT) == 0
    assert await asyncio.to_thread(probe, port, LIVENESS) == "UNAVAILABLE"


def test_one_whose_event_loop_hangs_does_not_answer(state, port, tmp_path):
    with run_server(state, tmp_path, encoder="fake", SERVER__HEALTH_PORT=port) as server:
        server.process.send_signal(signal.SIGSTOP)
        try:
            assert probe(port, LIVENESS) in {"DEADLINE_EXCEEDED", "UNAVAILABLE"}
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert probe(port, LIVENESS) == "SERVING"


def test_of_several_processes_each_answers_for_itself(state, port, tmp_path):
    values = {"SERVER__HEALTH_PORT": port, "SERVER__PROCESSES": 2}
    with run_server(state, tmp_path, encoder="fake", **values) as server:
        until(lambda: logged(server, "all serve"))
        assert {event["process"] for event in logged(server, "answering probes")} == {1, 2}
        assert {probe(port, service) for service in (READINESS, LIVENESS) for _ in range(8)} == {"SERVING"}


def test_another_service_on_the_port_is_told(state, port, tmp_path):
    values = {"SERVER__HEALTH_PORT": port, "SERVER__PROCESSES": 2}
    with run_server(state, tmp_path, encoder="fake", **values):
        environment = os.environ | settings_for(state, ENGINE__ENCODER="fake", **values)
        command = [BIN / "embedsvc", "serve"]
        ended = subprocess.run(
            command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=TIMEOUT
        )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"embedsvc: server.health_port: cannot listen on 127.0.0.1:{port}:")
