"""Envoy's preStop, drain.sh, run against a real Envoy with a real server behind it."""

import asyncio
import os
import subprocess
import time
import urllib.error
import urllib.request

import grpc
import httpx
import pytest
from support.kustomize import FOLDER
from support.programs import run_edge

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

ITEM = pb.EmbedStreamRequest(id="1", request=pb.EmbedRequest(inputs=[pb.Input(text="x")]))
TIMEOUT = 30


@pytest.fixture
def edge(fake_server, state, tmp_path):
    with run_edge(fake_server, state, tmp_path) as running:
        yield running


@pytest.fixture
def drain(edge):
    """Starts the script; what is still running of it at the end is killed."""
    started = []

    def start(notice, longest):
        numbers = {"ADMIN_PORT": edge.admin_port, "NOTICE_SECONDS": notice, "LONGEST_SECONDS": longest}
        environment = os.environ | {name: str(number) for name, number in numbers.items()}
        process = subprocess.Popen(["bash", FOLDER / "base/drain.sh"], env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def readiness(edge):
    """The status of the page that kubelet asks for."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{edge.ports['STATS_PORT']}/ready") as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def until_not_ready(edge):
    deadline = time.monotonic() + TIMEOUT
    while await asyncio.to_thread(readiness, edge) != 503:
        assert time.monotonic() < deadline


@pytest.fixture
async def stream(edge, state):
    """A call that has had one answer and waits for more."""
    async with edge.channel() as channel:
        call = EmbeddingServiceStub(channel).EmbedStream(metadata=state.authorization)
        await call.write(ITEM)
        assert (await call.read()).id == "1"
        yield call


def test_it_ends_at_once_where_nothing_is_under_way(edge, drain):
    assert readiness(edge) == 200
    assert drain(notice=0, longest=TIMEOUT).wait(timeout=10) == 0
    assert readiness(edge) == 503


def test_callers_are_served_and_sent_elsewhere(edge, drain):
    with httpx.Client(base_url=edge.url) as caller:
        assert "connection" not in caller.get("/health").headers
        assert drain(notice=0, longest=TIMEOUT).wait(timeout=10) == 0
        answer = caller.get("/health")
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")


def test_those_who_have_not_heard_yet_have_some_time(edge, drain):
    process = drain(notice=2, longest=0)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1.5)
    assert process.wait(timeout=10) == 0


async def test_it_waits_for_what_is_under_way(edge, drain, stream):
    process = drain(notice=0, longest=TIMEOUT)
    await until_not_ready(edge)
    with pytest.raises(subprocess.TimeoutExpired):
        await asyncio.to_thread(process.wait, 2)
    await stream.write(ITEM)
    assert (await stream.read()).response.embeddings
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert await asyncio.to_thread(process.wait, 10) == 0


async def test_it_does_not_wait_for_ever(edge, drain, stream):
    process = drain(notice=0, longest=1)
    assert await asyncio.to_thread(process.wait, 10) == 0
    stream.cancel()


def test_where_envoy_is_gone_it_says_so(edge, drain):
    edge.process.kill()
    edge.process.wait()
    assert drain(notice=0, longest=TIMEOUT).wait(timeout=10) == 1
