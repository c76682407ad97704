"""Several processes on one port, with one replica between them. Every test has a service of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.programs import BIN, ROOT, free_port, run_server, settings_for

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

FRONTS = {1, 2}
TIMEOUT = 30
TEXT = pb.EmbedRequest(inputs=[pb.Input(text="x")])
ITEM = pb.EmbedStreamRequest(id="1", request=TEXT)
OF_ITS_OWN = {"grpc.use_local_subchannel_pool": 1}
"""A channel's option: a connection that no other channel uses."""


@pytest.fixture
def short_folder():
    """Where a service that is killed leaves its own: Unix sockets need a shorter path than pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


@pytest.fixture
def service(state, tmp_path, monkeypatch, short_folder):
    monkeypatch.setenv("TMPDIR", short_folder)
    # Without a cache, which would answer for replicas that cannot.
    values = {
        "SERVER__PROCESSES": len(FRONTS),
        "ENGINE__HANG_SECONDS": 0.5,
        "CACHE__ENABLED": "false",
    }
    with run_server(state, tmp_path, encoder="fake", **values) as running:
        until(lambda: events(running, "all serve"))
        yield running


def until(true):
    """Wait for what other processes do."""
    deadline = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def events(service, name):
    return [event for event in service.events() if event["event"] == name]


def children_of(service, module):
    process = service.process.pid
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in children if module in Path(f"/proc/{child}/cmdline").read_bytes()]


def fronts_of(service):
    return children_of(service, b"embedsvc.front")


def workers_of(service):
    return children_of(service, b"embedsvc.engine.worker")


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def embed(channel, state):
    return await EmbeddingServiceStub(channel).Embed(TEXT, metadata=state.authorization, timeout=TIMEOUT)


async def call_once(service, state):
    async with service.channel(**OF_ITS_OWN) as channel:
        assert (await embed(channel, state)).embeddings


def who_answered(service):
    """The number of the process for each call."""
    return [event["process"] for event in events(service, "call")]


async def channel_to_each(service, state, stack):
    """An open channel to every front, by its number."""
    channels = {}
    while set(channels) != FRONTS:
        channel = await stack.enter_async_context(service.channel(**OF_ITS_OWN))
        before = len(who_answered(service))
        await embed(channel, state)
        until(lambda before=before: len(who_answered(service)) > before)
        channels[who_answered(service)[-1]] = channel
    return channels


async def test_all_answer_on_one_port_with_one_replica_between_them(service, state):
    async with AsyncExitStack() as stack:
        await channel_to_each(service, state, stack)
    assert len(fronts_of(service)) == len(FRONTS)
    assert len(workers_of(service)) == 1
    assert {event["process"] for event in service.events()} == {0, *FRONTS}


async def test_each_says_for_itself_that_it_serves(service, state):
    async with AsyncExitStack() as stack:
        for channel in (await channel_to_each(service, state, stack)).values():
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_one_that_is_killed_is_replaced_while_the_others_answer(service, state):
    killed = fronts_of(service)[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: events(service, "process lost"))
    for _ in range(10):
        await call_once(service, state)
    until(lambda: len(events(service, "serving")) == len(FRONTS) + 1)
    [lost] = events(service, "process lost")
    assert lost["reason"].endswith("status -9")
    assert killed not in fronts_of(service)
    async with AsyncExitStack() as stack:
        await channel_to_each(service, state, stack)


async def test_one_that_stops_does_not_keep_the_others_from_the_replica(service, state):
    async with AsyncExitStack() as stack:
        channels = await channel_to_each(service, state, stack)
        front = fronts_of(service)[0]
        calls = [asyncio.create_task(embed(channel, state)) for channel in channels.values()]
        os.kill(front, signal.SIGSTOP)
        done, _ = await asyncio.wait(
            [asyncio.create_task(embed(channel, state)) for channel in channels.values()],
            timeout=TIMEOUT,
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert done
        os.kill(front, signal.SIGCONT)
        assert all(answer.embeddings for answer in await asyncio.gather(*calls))
    assert not events(service, "replica lost")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=lambda it: it.name)
async def test_a_replica_that_dies_or_hangs_is_replaced_once_and_no_caller_of_any_front_fails(
    service, state, number
):
    [worker] = workers_of(service)
    async with AsyncExitStack() as stack:
        channels = (await channel_to_each(service, state, stack)).values()
        calls = [asyncio.create_task(embed(channel, state)) for channel in channels for _ in range(50)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        os.kill(worker, number)
        calls += [asyncio.create_task(embed(channel, state)) for channel in channels for _ in range(50)]
        for answer in await asyncio.gather(*calls):
            assert answer.embeddings
    assert worker not in workers_of(service)
    assert len(workers_of(service)) == 1
    assert service.sample('embeddings_replica_restarts_total{model="all-MiniLM-L6-v2"}') == 1


async def test_series_are_sums_and_a_front_that_is_replaced_takes_none_away(service, state):
    count = 'embeddings_requests_total{code="OK",rpc="Embed"}'
    async with AsyncExitStack() as stack:
        await channel_to_each(service, state, stack)
    before = len(who_answered(service))
    assert service.sample(count) == before
    os.kill(fronts_of(service)[0], signal.SIGKILL)
    until(lambda: len(events(service, "serving")) == len(FRONTS) + 1)
    assert service.sample(count) == before
    async with AsyncExitStack() as stack:
        await channel_to_each(service, state, stack)
    assert service.sample(count) == len(who_answered(service))
    assert service.sample('embeddings_replicas_ready{model="all-MiniLM-L6-v2"}') == 1
    assert service.sample('embeddings_model_ready{model="all-MiniLM-L6-v2"}') == 1


async def open_stream(channel, state):
    call = EmbeddingServiceStub(channel).EmbedStream(metadata=state.authorization)
    await call.write(ITEM)
    assert (await call.read()).id == "1"
    return call


async def test_sigterm_finishes_what_each_has_under_way_and_leaves_nothing(service, state, short_folder):
    async with AsyncExitStack() as stack:
        channels = await channel_to_each(service, state, stack)
        streams = [await open_stream(channel, state) for channel in channels.values()]
        children = [*fronts_of(service), *workers_of(service)]
        assert service.sample('embeddings_in_flight{rpc="EmbedStream"}') == len(FRONTS)
        service.process.terminate()
        until(lambda: len(events(service, "draining")) == len(FRONTS))
        for stream in streams:
            await stream.write(ITEM)
            assert (await stream.read()).response.embeddings
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
    assert await asyncio.to_thread(service.process.wait, TIMEOUT) == 0
    assert service.events()[-1]["event"] == "stopped"
    assert not any(map(runs, children))
    assert await asyncio.to_thread(os.listdir, short_folder) == []


async def test_a_second_signal_leaves_at_once_and_leaves_nothing(service, state):
    async with AsyncExitStack() as stack:
        for channel in (await channel_to_each(service, state, stack)).values():
            await open_stream(channel, state)
        children = [*fronts_of(service), *workers_of(service)]
        service.process.terminate()
        until(lambda: len(events(service, "draining")) == len(FRONTS))
        service.process.terminate()
        assert await asyncio.to_thread(service.process.wait, TIMEOUT) == -signal.SIGTERM
        until(lambda: not any(map(runs, children)))


def test_nothing_outlives_the_process_that_started_it(service):
    children = [*fronts_of(service), *workers_of(service)]
    assert len(children) == len(FRONTS) + 1
    service.process.kill()
    service.process.wait()
    until(lambda: not any(map(runs, children)))


def refused(state, **values):
    """The exit status and the lines of a service that does not start."""
    environment = settings_for(state, ENGINE__ENCODER="fake", SERVER__PROCESSES=len(FRONTS), **values)
    ended = subprocess.run(
        [BIN / "embedsvc", "serve"],
        cwd=ROOT,
        env=os.environ | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ended.returncode, ended.stderr.splitlines()


def test_a_second_service_on_the_port_is_told(service, state):
    status, lines = refused(state, SERVER__PORT=service.port)
    assert (status, len(lines)) == (2, 1)
    assert lines[0].startswith(f"embedsvc: server.port: cannot listen on {service.address}:")


def test_a_port_that_another_program_has_is_told(state):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        status, lines = refused(state, SERVER__PORT=taken.getsockname()[1])
    assert status == 2
    assert lines[-1].startswith("embedsvc: server.port: cannot listen on 127.0.0.1:")


def test_a_mistake_that_only_the_fronts_see_stops_the_start_with_its_name(state):
    status, lines = refused(state, TLS__KEY="/nowhere")
    assert status == 2
    assert any(line.startswith("embedsvc: tls") for line in lines)
    assert lines[-1].startswith("embedsvc: server.processes: a process ended before it answered, status 2")
