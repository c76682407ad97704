"""Models that come, go and change while a server answers: lazily, under a budget, and by SIGHUP."""

import asyncio
import itertools
import os
import signal
import time
from pathlib import Path

import grpc
import pytest
from support.programs import run_server

from embedsvc.engine import fake
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1 import model_pb2
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub
from embedsvc.v1.model_pb2_grpc import ModelServiceStub

MINI, BGE, GTE, E5 = "all-MiniLM-L6-v2", "bge-large-en-v1.5", "gte-large", "e5-large-v2"
SECONDS = 60
LAZY = f"""
primary = "{MINI}"
fallback = ""
also = ["{BGE}", "{GTE}"]
lazy = ["{BGE}", "{GTE}"]
"""
TWO = f"""
primary = "{MINI}"
fallback = "{BGE}"
"""


@pytest.fixture
def configured(tmp_path):
    """The server's file, with these models in it."""

    def write(models):
        path = tmp_path / "embedsvc.toml"
        path.write_text(f"[models]\n{models}")
        return path

    return write


@pytest.fixture
def serve(state, tmp_path, configured):
    """Runs a server of its own with these models."""

    def run(models, encoder="fake", **values):
        return run_server(state, tmp_path, encoder=encoder, CONFIG=configured(models), **values)

    return run


class Caller:
    """Asks a server."""

    def __init__(self, channel, state):
        self.embedding = EmbeddingServiceStub(channel)
        self.models = ModelServiceStub(channel)
        self.metadata = state.authorization
        self.numbers = itertools.count()

    async def embed(self, model, timeout=SECONDS):  # noqa: ASYNC109 - gRPC's own
        text = f"which no cache knows: {next(self.numbers)}"
        request = pb.EmbedRequest(inputs=[pb.Input(text=text)], model=model)
        return await self.embedding.Embed(request, metadata=self.metadata, timeout=timeout)

    async def listed(self):
        answer = await self.models.ListModels(model_pb2.ListModelsRequest(), metadata=self.metadata)
        return {model.name: model for model in answer.models}

    async def state(self, model):
        return (await self.listed())[model].state

    async def embed_until(self, over, model):
        """Ask without a pause; every call must be answered."""
        answers = []
        while not over.is_set():
            answers.append((await self.embed(model)).model)
        return answers


def events(server, name):
    return [event for event in server.events() if event["event"] == name]


def fronts_of(server):
    """The processes that answer, where there are several."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(child) for child in children if b"front" in Path(f"/proc/{child}/cmdline").read_bytes()]


async def until(true):
    """Wait for what the server does."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def reload(server, event="configuration applied"):
    """Send SIGHUP, and wait until the server says this of it."""
    before = len(events(server, event))
    server.process.send_signal(signal.SIGHUP)
    await until(lambda: len(events(server, event)) > before)
    return events(server, event)[-1]


async def test_a_lazy_model_is_loaded_by_its_first_request_while_all_others_are_answered(serve, state):
    with serve(LAZY) as server:
        async with server.channel() as channel:
            caller = Caller(channel, state)
            idle = (await caller.listed())[BGE]
            assert (idle.state, idle.dimensions) == (model_pb2.MODEL_STATE_IDLE, fake.DIMENSIONS)
            assert [event["model"] for event in events(server, "model loaded")] == [MINI]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await caller.embed(BGE, 0.1)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            waiting = [asyncio.create_task(caller.embed(BGE)) for _ in range(20)]
            assert (await caller.embed(MINI)).model == MINI
            assert {answer.model for answer in await asyncio.gather(*waiting)} == {BGE}
            assert await caller.state(BGE) == model_pb2.MODEL_STATE_READY
            assert await caller.state(GTE) == model_pb2.MODEL_STATE_IDLE
        loads = f'embeddings_model_loads_total{{model="{BGE}",result="loaded"}}'
        assert server.sample(loads) == 1
        assert f'embeddings_model_ready{{model="{GTE}"}}' not in server.metrics()


async def test_models_make_room_for_each_other(serve, state):
    with serve(LAZY + f"memory_bytes = {2 * fake.WEIGHTS_BYTES}") as server:
        async with server.channel() as channel:
            caller = Caller(channel, state)
            for model in (BGE, GTE, BGE):
                assert (await caller.embed(model)).model == model
            states = {name: model.state for name, model in (await caller.listed()).items()}
            assert states == {
                MINI: model_pb2.MODEL_STATE_READY,
                BGE: model_pb2.MODEL_STATE_READY,
                GTE: model_pb2.MODEL_STATE_IDLE,
            }
            assert [event["model"] for event in events(server, "model makes room")] == [BGE, GTE]
            assert server.sample(f'embeddings_model_evictions_total{{model="{BGE}"}}') == 1


async def test_models_are_added_changed_and_removed_by_sighup_and_no_call_fails(serve, state, configured):
    with serve(TWO) as server:
        async with server.channel() as channel:
            caller, over = Caller(channel, state), asyncio.Event()
            calls = [
                asyncio.create_task(caller.embed_until(over, model)) for model in (MINI, "") for _ in "abcd"
            ]
            configured(
                TWO + f'also = ["{GTE}"]\n[models.settings."{MINI}"]\nmax_tokens = 64\naliases = ["ours"]'
            )
            applied = await reload(server)
            assert applied["models"] == [MINI, BGE, GTE]
            assert (await caller.listed())[MINI].max_tokens == 64
            assert {(await caller.embed(name)).model for name in ("ours", GTE)} == {MINI, GTE}
            configured(f'primary = "{GTE}"\nfallback = "{MINI}"')
            await reload(server)
            assert [*await caller.listed()] == [GTE, MINI]
            assert (await caller.embed("text-embedding-3-small")).model == GTE
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await caller.embed(BGE)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            over.set()
            answers = await asyncio.gather(*calls)
        assert {model for models in answers[:4] for model in models} == {MINI}
        assert {model for models in answers[4:] for model in models} == {MINI, GTE}
        assert server.sample('embeddings_reloads_total{result="applied"}') == 2
        failed = [event for event in events(server, "call") if event.get("code") not in ("OK", "NOT_FOUND")]
        assert failed == []


async def test_a_route_leaves_a_model_that_goes_away_and_no_call_fails(serve, state, configured):
    route = '[routes."ours"]\nmodel = '
    with serve(TWO + f'{route}"{BGE}"') as server:
        async with server.channel() as channel:
            caller, over = Caller(channel, state), asyncio.Event()
            calls = [asyncio.create_task(caller.embed_until(over, "ours")) for _ in range(4)]
            configured(f'primary = "{MINI}"\nfallback = "{GTE}"\n{route}"{GTE}"')
            await reload(server)
            over.set()
            assert {model for models in await asyncio.gather(*calls) for model in models} <= {BGE, GTE}
            assert (await caller.embed("ours")).model == GTE
            assert [*await caller.listed()] == [MINI, GTE]


@pytest.mark.parametrize(
    "wrong",
    [
        ("fake", 'primry = "x"', "models.primry: no such setting"),
        ("fake", f'primary = "{MINI}"\nalso = ["{BGE}"]\nmemory_bytes = 1', "models.memory_bytes: "),
        ("packed", 'primary = "nobody-has-it"', "models: 'nobody-has-it' is not one of"),
    ],
)
async def test_a_configuration_that_cannot_be_used_is_told_and_changes_nothing(
    serve, state, configured, wrong
):
    encoder, models, reason = wrong
    with serve(f'primary = "{MINI}"\nfallback = ""', encoder) as server:
        async with server.channel() as channel:
            caller = Caller(channel, state)
            configured(models)
            refused = await reload(server, "configuration not applied")
            assert reason in refused["reason"]
            assert [*await caller.listed()] == [MINI]
            assert (await caller.embed("")).model == MINI
        errors = [event for event in server.events() if event["level"] == "error"]
        assert errors == [refused]
        assert server.sample('embeddings_reloads_total{result="failed"}') == 1


async def test_settings_that_need_a_restart_are_named(serve, configured):
    with serve(TWO) as server:
        path = configured(TWO)
        path.write_text(path.read_text() + "[limits]\nmax_inputs = 7\nmax_text_chars = 99\n")
        await reload(server)
        [warning] = events(server, "some settings that have changed need a restart")
        assert warning["settings"] == ["limits.max_inputs", "limits.max_text_chars"]


async def test_sighup_does_not_end_a_service_of_several_processes(serve, state):
    with serve(TWO, SERVER__PROCESSES=2) as server:
        await until(lambda: events(server, "all serve"))
        server.process.send_signal(signal.SIGHUP)
        told = "no configuration is read anew where server.processes is more than 1: restart the service"
        await until(lambda: events(server, told))
        for front in fronts_of(server):
            os.kill(front, signal.SIGHUP)
        async with server.channel() as channel:
            assert (await Caller(channel, state).embed("")).model == MINI
        assert len(fronts_of(server)) == 2
        assert not events(server, "process lost")
