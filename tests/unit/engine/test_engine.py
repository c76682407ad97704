"""engine: every served model, found by its names."""

import threading

import pytest
from gated_encoder import GatedEncoder

from embedsvc.config import EngineSettings, ModelOverrides, ModelSettings, Settings
from embedsvc.engine import engine as module
from embedsvc.engine.engine import open_engine
from embedsvc.engine.source import ModelSource, open_source
from embedsvc.errors import ConfigurationError, ModelNotFoundError
from embedsvc.metrics import Metrics
from embedsvc.types import Caller

MINI, BGE, GTE = "all-MiniLM-L6-v2", "bge-large-en-v1.5", "gte-large"


def settings(*, devices=("cpu",), **models):
    chosen = {"primary": MINI, "fallback": BGE, "also": (GTE,), **models}
    return Settings(engine=EngineSettings(encoder="fake", devices=devices), models=ModelSettings(**chosen))


@pytest.fixture
def encoders(monkeypatch):
    """The encoders that a gated engine builds, in their order."""
    built = []

    def build(device):
        built.append(GatedEncoder(device))
        return built[-1]

    def gated(name, chosen):
        source = open_source(name, chosen)
        return ModelSource(source.card, source.tokenizer, build)

    monkeypatch.setattr(module, "open_source", gated)
    return built


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


async def test_there_is_a_replica_of_every_model_for_every_device(encoders):
    async with open_engine(settings(devices=("cpu", "cpu")), Metrics()) as engine:
        assert len(encoders) == 6
        assert [model.devices for model in engine.models.values()] == [["cpu", "cpu"]] * 3
        assert engine.primary.dimensions == 3


async def test_readiness_follows_the_replicas_and_a_probe_brings_them_back(encoders):
    metrics = Metrics()
    async with open_engine(settings(fallback="", also=()), metrics) as engine:
        [encoder] = encoders
        encoder.wrong = lambda batch: 1 / 0
        [replica] = engine.primary.batcher.replicas
        with pytest.raises(ZeroDivisionError):
            await replica.encode([[1]])
        assert not engine.primary.ready
        assert metrics.registry.get_sample_value("embeddings_model_ready", {"model": MINI}) == 0
        await engine.probe_failed()
        assert not engine.primary.ready
        encoder.wrong = None
        await engine.probe_failed()
        assert engine.primary.ready
        assert metrics.registry.get_sample_value("embeddings_model_ready", {"model": MINI}) == 1


async def test_a_probe_leaves_healthy_replicas_alone(encoders):
    async with open_engine(settings(), Metrics()) as engine:
        before = [list(encoder.batches) for encoder in encoders]
        await engine.probe_failed()
        assert [encoder.batches for encoder in encoders] == before


async def test_what_is_inside_is_shown():
    metrics = Metrics()
    async with open_engine(settings(), metrics) as engine, engine.admission.admit(77, Caller("one")):
        assert metrics.registry.get_sample_value("embeddings_admitted_tokens") == 77


async def test_tokenizing_has_threads_of_its_own_that_end_with_the_engine():
    async with open_engine(settings(), Metrics()) as engine:
        thread = await engine.in_thread(threading.current_thread)
        assert thread.name.startswith("tokenizer")
    thread.join(timeout=5)
    assert not thread.is_alive()


async def test_a_closed_engine_is_not_ready():
    async with open_engine(settings(), Metrics()) as engine:
        await engine.primary.batcher.submit([[0, 1]], Caller("a"))
    assert not engine.primary.ready
