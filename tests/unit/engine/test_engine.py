"""engine: every served model, found by its names."""

import asyncio
import os
import signal
import threading

import pytest
from obedient_encoder import DIE
from obedient_engine import ANYONE, BGE, GTE, MINI, settings

from embedsvc.config import EngineSettings, ModelOverrides, ModelSettings, Settings
from embedsvc.engine import engine as module
from embedsvc.engine.devices import Devices
from embedsvc.engine.engine import open_engine
from embedsvc.engine.replica import ReplicaLostError
from embedsvc.engine.source import open_source
from embedsvc.errors import ConfigurationError, ModelNotFoundError, OverloadedError
from embedsvc.metrics import Metrics
from embedsvc.types import Caller


async def test_models_are_served_in_the_order_of_the_configuration():
    async with open_engine(settings(), Metrics()) as engine:
        assert list(engine.models) == [MINI, BGE, GTE]
        assert engine.primary.name == MINI
        assert [model.card.primary for model in engine.models.values()] == [True, False, False]
        assert all(model.ready for model in engine.models.values())
        assert engine.gpu_name is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("", MINI),
        (MINI, MINI),
        ("sentence-transformers/all-MiniLM-L6-v2", MINI),
        ("text-embedding-ada-002", MINI),
        ("text-embedding-3-small", MINI),
        ("text-embedding-3-large", MINI),
        (BGE, BGE),
        ("BAAI/bge-large-en-v1.5", BGE),
        ("ours", BGE),
    ],
)
async def test_a_model_is_found_by_its_name_and_by_every_alias(name, found):
    chosen = settings(settings={BGE: ModelOverrides(aliases=("ours",))})
    async with open_engine(chosen, Metrics()) as engine:
        assert engine.find(name).name == found


async def test_an_unknown_model_is_an_error_that_lists_what_there_is():
    async with open_engine(settings(), Metrics()) as engine:
        with pytest.raises(
            ModelNotFoundError, match=f"'gpt-4' does not exist.*{MINI}, {BGE}, {GTE}"
        ) as caught:
            engine.find("gpt-4")
        assert caught.value.param == "model"
        with pytest.raises(ModelNotFoundError) as caught:
            engine.find("x" * 100_000)
        assert len(caught.value.message) < 300


@pytest.mark.parametrize("alias", [MINI, "text-embedding-3-small"])
async def test_a_name_of_two_models_is_a_mistake_that_is_told_as_itself(alias):
    chosen = settings(settings={BGE: ModelOverrides(aliases=(alias,))})
    with pytest.raises(ConfigurationError, match=f"models: '{alias}' is a name of both {MINI} and {BGE}"):
        await open_engine(chosen, Metrics()).__aenter__()


async def test_a_model_that_is_not_there_is_told_as_itself_though_another_is_loaded(monkeypatch):
    def only_the_first(name, chosen, devices):
        if name == MINI:
            return open_source(name, chosen, devices)
        raise ConfigurationError(f"models: {name} is nowhere")

    monkeypatch.setattr(module, "open_source", only_the_first)
    with pytest.raises(ConfigurationError, match="is nowhere"):
        await open_engine(settings(), Metrics()).__aenter__()


async def test_a_device_that_is_not_there_stops_the_start():
    chosen = Settings(
        engine=EngineSettings(devices=("cuda:99",)), models=ModelSettings(primary=MINI, fallback="")
    )
    with pytest.raises(
        ConfigurationError, match=r"engine\.devices: 'cuda:99' is not on this machine; it has cpu"
    ):
        await open_engine(chosen, Metrics()).__aenter__()


async def test_there_is_a_replica_of_every_model_for_every_device(obedient):
    async with open_engine(settings(devices=("cpu", "cpu"), also=()), Metrics()) as engine:
        assert [model.devices for model in engine.models.values()] == [["cpu", "cpu"]] * 2
        assert [len(model.pool.replicas) for model in engine.models.values()] == [2, 2]
        assert engine.primary.dimensions == 3


async def test_readiness_follows_the_replicas(obedient):
    metrics = Metrics()
    async with open_engine(settings(fallback="", also=()), metrics) as engine:
        assert engine.primary.ready
        [replica] = engine.primary.pool.replicas
        with pytest.raises(ReplicaLostError):
            await replica.encode([[DIE]])
        assert not engine.primary.ready
        assert shown(metrics, "embeddings_model_ready") == shown(metrics, "embeddings_replicas_ready") == 0
        await engine.primary.batcher.submit([[5]], ANYONE)  # waits for the next replica
        assert engine.primary.ready
        assert shown(metrics, "embeddings_model_ready") == shown(metrics, "embeddings_replicas_ready") == 1


async def test_a_probe_finds_the_replica_that_is_broken(obedient):
    async with open_engine(settings(also=()), Metrics()) as engine:
        await engine.probe()
        assert all(model.ready for model in engine.models.values())
        [replica] = engine.primary.pool.replicas
        os.kill(replica._life.process.pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            while engine.primary.ready:  # it may be busy with a probe of the engine
                await engine.probe()
        assert engine.find(BGE).ready


def shown(metrics, name):
    return metrics.registry.get_sample_value(name, {"model": MINI})


async def test_a_closed_engine_is_not_ready_and_lets_nobody_in():
    async with open_engine(settings(), Metrics()) as engine:
        await engine.primary.batcher.submit([[0, 1]], Caller("a"))
    assert not engine.primary.ready
    with pytest.raises(OverloadedError):
        await engine.primary.entered(ANYONE).__aenter__()
    with pytest.raises(OverloadedError):
        engine.primary.held().__enter__()


async def test_gpu_memory_is_that_of_all_replicas_on_the_gpu(obedient, monkeypatch):
    async def two_gpus():
        return Devices(["NVIDIA H200", "NVIDIA H200"])

    monkeypatch.setattr(module, "find_devices", two_gpus)
    chosen = Settings(
        engine=EngineSettings(devices=("cuda:0", "cuda:0", "cpu")),
        models=ModelSettings(primary=MINI, fallback=""),
    )
    metrics = Metrics()
    async with open_engine(chosen, metrics) as engine:
        assert engine.gpu_name == "NVIDIA H200"
        values = [
            metrics.registry.get_sample_value("embeddings_gpu_memory_bytes", {"device": device})
            for device in ("cuda:0", "cuda:1")
        ]
    assert values == [14_000_000_000, 0]


async def test_what_is_inside_is_shown():
    metrics = Metrics()
    async with open_engine(settings(), metrics) as engine, engine.admission.admit(77, Caller("one")):
        assert metrics.registry.get_sample_value("embeddings_admitted_tokens") == 77


async def test_tokenizing_has_threads_of_its_own_that_end_with_the_engine():
    async with open_engine(settings(), Metrics()) as engine:
        thread = await asyncio.get_running_loop().run_in_executor(
            engine.threads.one, threading.current_thread
        )
        assert thread.name.startswith("tokenizer")
    thread.join(timeout=5)
    assert not thread.is_alive()
