"""engine: models that are loaded when they are needed, under a bound on memory."""

import asyncio

import pytest
from obedient_encoder import LINGER, ObedientEncoder, Unless
from obedient_engine import ANYONE, BGE, GTE, MINI, ask, change, settings

from embedsvc.config import ModelOverrides
from embedsvc.engine import fake
from embedsvc.engine.engine import open_engine
from embedsvc.engine.loader import State
from embedsvc.errors import ConfigurationError, OverloadedError, ProviderDownError
from embedsvc.metrics import Metrics

ONE = fake.WEIGHTS_BYTES
LAZY = (BGE, GTE)


def lazy(**models):
    return settings(lazy=LAZY, **models)


def states(engine):
    return {name: model.state for name, model in engine.models.items()}


@pytest.fixture
def metrics():
    return Metrics()


async def test_what_is_known_of_a_lazy_model_is_known_before_it_is_loaded(obedient, metrics):
    async with open_engine(lazy(), metrics) as engine:
        assert states(engine) == {MINI: State.READY, BGE: State.IDLE, GTE: State.IDLE}
        model = engine.find("BAAI/bge-large-en-v1.5")
        assert (model.dimensions, model.devices, model.tokenizer.max_tokens) == (3, ["cpu"], fake.MAX_TOKENS)
        assert (model.ready, model.batcher, model.pool) == (False, None, None)
        assert metrics.registry.get_sample_value("embeddings_model_ready", {"model": BGE}) is None
        await engine.probe()
        assert engine.gpu_memory("cuda:0") == 0


async def test_the_first_request_loads_it_once_for_all(obedient, metrics):
    async with open_engine(lazy(), metrics) as engine:
        processes = await asyncio.gather(*(ask(engine, BGE) for _ in range(50)))
        assert len({*processes, await ask(engine, BGE)}) == 1
        assert states(engine) == {MINI: State.READY, BGE: State.READY, GTE: State.IDLE}
        for series in ("embeddings_model_ready", "embeddings_replicas_ready"):
            assert metrics.registry.get_sample_value(series, {"model": BGE}) == 1
        loads = {"model": BGE, "result": "loaded"}
        assert metrics.registry.get_sample_value("embeddings_model_loads_total", loads) == 1


async def test_one_that_cannot_be_loaded_is_down_and_the_others_are_not(obedient, builds, tmp_path):
    (tmp_path / "fault").write_text("something")
    builds[BGE] = Unless(tmp_path / "fault")
    async with open_engine(lazy(), Metrics()) as engine:
        with pytest.raises(ProviderDownError, match=f"{BGE} could not be loaded; try again later"):
            await ask(engine, BGE)
        assert states(engine) == {MINI: State.READY, BGE: State.FAILED, GTE: State.IDLE}
        assert await ask(engine, MINI) != await ask(engine, GTE)


async def test_models_make_room_for_each_other_but_not_while_they_have_work(obedient, metrics):
    async with open_engine(lazy(memory_bytes=2 * ONE), metrics) as engine:
        working = asyncio.create_task(ask(engine, BGE, (LINGER, 1)))
        while engine.find(BGE).state is not State.READY:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError, match=f"{GTE} does not fit beside those that are in use"):
            await ask(engine, GTE)
        process = await working
        assert await ask(engine, GTE) != process
        assert states(engine) == {MINI: State.READY, BGE: State.IDLE, GTE: State.READY}
        assert metrics.registry.get_sample_value("embeddings_model_ready", {"model": BGE}) is None
        assert await ask(engine, BGE) != process
        assert states(engine) == {MINI: State.READY, BGE: State.READY, GTE: State.IDLE}


async def test_there_is_a_copy_of_the_weights_for_each_replica(obedient):
    with pytest.raises(ConfigurationError, match=f"models.memory_bytes: {MINI} take {2 * ONE} bytes"):
        await open_engine(lazy(devices=("cpu", "cpu"), memory_bytes=2 * ONE - 1), Metrics()).__aenter__()


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"lazy": (), "memory_bytes": 3 * ONE - 1}, f"{MINI}, {BGE}, {GTE} take {3 * ONE} bytes"),
        ({"lazy": (GTE,), "memory_bytes": 3 * ONE - 1}, f"{GTE}, of {ONE} bytes, would never fit beside"),
        (
            {"lazy": LAZY, "settings": {GTE: ModelOverrides(dimensions=4, allow_dimensions=True)}},
            "has 3 only",
        ),
    ],
)
async def test_what_can_never_be_served_stops_the_start(obedient, models, message):
    with pytest.raises(ConfigurationError, match=message):
        await open_engine(settings(**models), Metrics()).__aenter__()


async def test_a_model_becomes_lazy_and_is_lazy_no_more_without_being_loaded_anew(obedient):
    async with open_engine(settings(also=()), Metrics()) as engine:
        process = await ask(engine, BGE)
        await change(engine, settings(also=(), lazy=(BGE,), memory_bytes=2 * ONE))
        assert await ask(engine, BGE) == process
        await change(engine, settings(lazy=LAZY, memory_bytes=2 * ONE))
        await ask(engine, GTE)
        assert states(engine)[BGE] is State.IDLE
        await change(engine, settings(lazy=(GTE,)))
        assert states(engine) == dict.fromkeys((MINI, BGE, GTE), State.READY)


async def test_less_memory_unloads_what_is_idle_at_once(obedient):
    async with open_engine(lazy(), Metrics()) as engine:
        await ask(engine, GTE)
        await ask(engine, BGE)
        await change(engine, lazy(memory_bytes=2 * ONE))
        assert states(engine) == {MINI: State.READY, BGE: State.READY, GTE: State.IDLE}


async def test_a_lazy_model_that_is_in_use_is_replaced_when_the_new_one_is_warm(obedient):
    shorter = {name: ModelOverrides(max_tokens=64) for name in LAZY}
    async with open_engine(lazy(), Metrics()) as engine:
        process = await ask(engine, BGE)
        before = engine.find(GTE)
        await change(engine, lazy(settings=shorter))
        assert states(engine) == {MINI: State.READY, BGE: State.READY, GTE: State.IDLE}
        assert await ask(engine, BGE) != process
        assert engine.find(GTE) is not before


async def test_where_the_new_one_finds_no_room_it_is_loaded_by_the_next_request(obedient):
    shorter = {BGE: ModelOverrides(max_tokens=64)}
    async with open_engine(lazy(memory_bytes=2 * ONE), Metrics()) as engine:
        process = await ask(engine, BGE)
        await change(engine, lazy(memory_bytes=2 * ONE, settings=shorter))
        assert states(engine)[BGE] is State.IDLE
        assert await ask(engine, BGE) != process


class Longer(ObedientEncoder):
    """One whose vectors are longer than its files say."""

    dimensions = 4

    def encode(self, batch):
        return super().encode(batch)[:, [0, 1, 2, 2]]


async def test_a_model_whose_files_do_not_tell_the_truth_is_not_served(obedient, builds):
    builds[BGE] = Longer
    with pytest.raises(
        ConfigurationError, match=f"{BGE} cannot be used: its files .* say 3 dimensions, .* 4"
    ):
        await open_engine(settings(also=()), Metrics()).__aenter__()
    async with open_engine(settings(also=(), lazy=(BGE,)), Metrics()) as engine:
        with pytest.raises(ProviderDownError):
            async with engine.find(BGE).entered(ANYONE):
                raise AssertionError
