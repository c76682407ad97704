"""Replicas that die or hang under load: callers get vectors, and later ones too."""

import asyncio
import os
import signal
import time
from pathlib import Path

import grpc
import pytest
from support.programs import run_server

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

CALLERS = 8
HANG_SECONDS = 0.5
TIMEOUT = 30


@pytest.fixture(scope="module")
def server(state, tmp_path_factory):
    """A server of its own, which notices soon that a replica hangs."""
    folder = tmp_path_factory.mktemp("replicas")
    # Without a cache, which would answer for replicas that cannot.
    values = {"ENGINE__HANG_SECONDS": HANG_SECONDS, "CACHE__ENABLED": "false"}
    with run_server(state, folder, encoder="fake", **values) as running:
        yield running


@pytest.fixture
async def embed(server, state):
    """Embeds one text; returns the status code."""
    async with server.channel() as channel:
        stub = EmbeddingServiceStub(channel)

        async def call(text, seconds=TIMEOUT):
            request = pb.EmbedRequest(inputs=[pb.Input(text=text)])
            try:
                answer = await stub.Embed(request, metadata=state.authorization, timeout=seconds)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            assert len(answer.embeddings) == 1
            return "OK"

        yield call


def workers_of(server):
    """The processes of the server's replicas."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, command in commands.items() if b"engine.worker" in command]


def restarts(server):
    return server.sample('embeddings_replica_restarts_total{model="all-MiniLM-L6-v2"}')


async def under_load(embed, hurt):
    """Hurt something while callers call; return what they got, before and after."""
    over, answered = asyncio.Event(), asyncio.Semaphore(0)
    codes = []

    async def caller(number):
        count = 0
        while not over.is_set():
            codes.append(await embed(f"caller {number}, text {count}"))
            answered.release()
            count += 1

    async with asyncio.TaskGroup() as callers:
        for number in range(CALLERS):
            callers.create_task(caller(number))
        for at in range(25 * CALLERS):
            await answered.acquire()
            if at == 5 * CALLERS:
                hurt()
        over.set()
    return codes


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP], ids=lambda it: it.name)
async def test_no_caller_notices_but_by_waiting(server, embed, number):
    before = restarts(server)

    def hurt():
        for worker in workers_of(server):
            os.kill(worker, number)

    codes = await asyncio.wait_for(under_load(embed, hurt), TIMEOUT)
    assert set(codes) == {"OK"}
    assert restarts(server) > before
    lost = [event for event in server.events() if event["event"] == "replica lost"]
    assert lost[-1]["level"] == "error"


async def test_a_caller_in_a_hurry_is_answered_at_its_deadline(server, embed):
    [worker, *_] = workers = workers_of(server)
    for each in workers:
        os.kill(each, signal.SIGSTOP)
    began = time.perf_counter()
    codes = await asyncio.gather(*(embed(f"hurry {number}", seconds=0.2) for number in range(CALLERS)))
    assert set(codes) == {"DEADLINE_EXCEEDED"}
    assert time.perf_counter() - began < TIMEOUT / 2
    assert await embed("calm") == "OK"
    assert worker not in workers_of(server)


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_processes_of_a_server_that_is_killed_end_too(state, tmp_path):
    with run_server(state, tmp_path, encoder="fake") as server:
        workers = workers_of(server)
        assert workers
        server.process.kill()
        server.process.wait()
    deadline = time.monotonic() + TIMEOUT
    while any(map(runs, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
