"""engine: every served model, found by its names."""

import asyncio
import os
import signal
import threading

import pytest
from obedient_encoder import DIE, ObedientEncoder

from embedsvc.config import EngineSettings, ModelOverrides, ModelSettings, Settings
from embedsvc.engine import engine as module
from embedsvc.engine.devices import Devices
from embedsvc.engine.engine import open_engine
from embedsvc.engine.replica import ReplicaLostError
from embedsvc.engine.source import ModelSource, open_source
from embedsvc.errors import ConfigurationError, ModelNotFoundError, OverloadedError
from embedsvc.metrics import Metrics
from embedsvc.types import Caller

ANYONE = Caller("anyone")
MINI, BGE, GTE = "all-MiniLM-L6-v2", "bge-large-en-v1.5", "gte-large"


def settings(*, devices=("cpu",), **models):
    chosen = {"primary": MINI, "fallback": BGE, "also": (GTE,), **models}
    return Settings(engine=EngineSettings(encoder="fake", devices=devices), models=ModelSettings(**chosen))


@pytest.fixture
def obedient(monkeypatch):
    """Engines that are opened have encoders that do as they are told."""

    def source(name, chosen):
        found = open_source(name, chosen)
        return ModelSource(found.card, found.tokenizer, ObedientEncoder)

    monkeypatch.setattr(module, "open_source", source)


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
    def only_the_first(name, chosen):
        if name == MINI:
            return open_source(name, chosen)
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


async def answered(batcher, texts):
    with batcher.entered():
        return await batcher.submit(texts, ANYONE)


async def asked_all_the_time(engine, name, over):
    """The processes that answered one caller who never pauses."""
    processes = []
    while not over.is_set():
        model = engine.find(name)
        with model.batcher.entered():
            await asyncio.sleep(0)  # as tokenizing takes a while
            computed = await model.batcher.submit([[5, 6]], ANYONE)
        assert computed.vectors[0, :2].tolist() == [5, 11]
        processes.append(computed.vectors[0, 2])
    return processes


async def test_a_model_is_replaced_under_load_and_no_request_fails(obedient):
    async with open_engine(settings(also=()), Metrics()) as engine:
        over, before = asyncio.Event(), engine.primary
        callers = [asyncio.create_task(asked_all_the_time(engine, MINI, over)) for _ in range(8)]
        await engine.load(MINI)
        await engine.primary.batcher.submit([[1]], ANYONE)
        over.set()
        processes = {process for caller in callers for process in await caller}
        assert engine.primary is not before
        assert len(processes) == 2
        assert list(engine.models) == [MINI, BGE]
        assert (before.ready, engine.primary.ready) == (False, True)


async def test_a_model_that_cannot_be_replaced_goes_on(obedient, monkeypatch):
    async with open_engine(settings(also=()), Metrics()) as engine:
        before = engine.primary

        def gone(name, chosen):
            raise ConfigurationError(f"models: {name} is nowhere")

        monkeypatch.setattr(module, "open_source", gone)
        with pytest.raises(ConfigurationError, match="is nowhere"):
            await engine.load(MINI)
        assert engine.primary is before
        assert (await before.batcher.submit([[5]], ANYONE)).vectors[0, 0] == 5


async def test_a_model_is_loaded_and_unloaded_while_others_serve(obedient):
    metrics = Metrics()
    async with open_engine(settings(fallback="", also=()), metrics) as engine:
        over = asyncio.Event()
        caller = asyncio.create_task(asked_all_the_time(engine, MINI, over))
        await engine.load(GTE)
        gte = engine.find("thenlper/gte-large")
        asked = asyncio.create_task(answered(gte.batcher, [[9]]))
        await asyncio.sleep(0)
        await engine.unload(GTE)
        assert (await asked).vectors[0, 0] == 9
        with pytest.raises(ModelNotFoundError):
            engine.find(GTE)
        with pytest.raises(OverloadedError):
            await answered(gte.batcher, [[9]])
        over.set()
        assert len(set(await caller)) == 1
    assert metrics.registry.get_sample_value("embeddings_model_ready", {"model": GTE}) is None


async def test_the_primary_model_and_one_that_is_not_there_cannot_be_unloaded(obedient):
    async with open_engine(settings(fallback="", also=()), Metrics()) as engine:
        with pytest.raises(ConfigurationError, match="cannot be unloaded"):
            await engine.unload("text-embedding-3-small")
        with pytest.raises(ModelNotFoundError):
            await engine.unload("gpt-4")
        assert engine.primary.ready


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


async def test_a_closed_engine_is_not_ready():
    async with open_engine(settings(), Metrics()) as engine:
        await engine.primary.batcher.submit([[0, 1]], Caller("a"))
    assert not engine.primary.ready
