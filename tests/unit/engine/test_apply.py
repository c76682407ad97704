"""engine: another configuration is applied while requests are answered."""

import asyncio
import json

import pytest
from obedient_encoder import Unless
from obedient_engine import ANYONE, BGE, GTE, MINI, ask, ask_all_the_time, change, settings

from embedsvc.config import ModelOverrides
from embedsvc.engine import engine as module
from embedsvc.engine import fake
from embedsvc.engine.catalog import OPENAI_NAMES
from embedsvc.engine.engine import open_engine
from embedsvc.engine.loader import State
from embedsvc.errors import ConfigurationError, ModelNotFoundError, OverloadedError
from embedsvc.metrics import Metrics

CALLERS = 8
SHORTER = {MINI: ModelOverrides(max_tokens=64)}
NAMED = {MINI: ModelOverrides(aliases=("ours",))}


@pytest.fixture
def metrics():
    return Metrics()


def shown(metrics, name):
    return metrics.registry.get_sample_value("embeddings_model_ready", {"model": name})


async def until(true):
    """Wait for what another task does."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def apply_under_load(engine, chosen, name=MINI):
    """Apply a configuration while callers never pause; the processes that answered them before and after."""
    over = asyncio.Event()
    callers = [asyncio.create_task(ask_all_the_time(engine, name, over)) for _ in range(CALLERS)]
    await asyncio.sleep(0)
    await change(engine, chosen)
    after = await ask(engine, name)
    over.set()
    return {process for caller in callers for process in await caller}, after


async def test_a_model_that_changes_is_replaced_and_no_request_fails(obedient, metrics):
    async with open_engine(settings(also=()), metrics) as engine:
        before, other = engine.primary, engine.find(BGE)
        processes, after = await apply_under_load(engine, settings(also=(), settings=SHORTER))
        assert len(processes) == 2
        assert after in processes
        assert engine.primary is not before
        assert engine.primary.tokenizer.max_tokens == 64
        assert engine.primary.card.space != before.card.space
        assert list(engine.models) == [MINI, BGE]
        assert engine.find(BGE) is other
        assert (before.ready, engine.primary.ready, shown(metrics, MINI)) == (False, True, 1)


async def test_what_does_not_change_is_left_alone_and_aliases_change_at_once(obedient):
    async with open_engine(settings(fallback="", also=()), Metrics()) as engine:
        process = await ask(engine, MINI)
        processes, _ = await apply_under_load(engine, settings(fallback="", also=(), settings=NAMED))
        assert processes == {process}
        assert engine.find("ours").name == MINI
        await change(engine, settings(fallback="", also=()))
        with pytest.raises(ModelNotFoundError):
            engine.find("ours")
        assert await ask(engine, MINI) == process


async def test_models_come_and_go_while_others_answer(obedient, metrics):
    async with open_engine(settings(fallback="", also=()), metrics) as engine:
        processes, process = await apply_under_load(engine, settings(also=()))
        assert processes == {process}
        bge = engine.find("BAAI/bge-large-en-v1.5")
        assert (await ask(engine, BGE), shown(metrics, BGE)) != (process, None)
        async with bge.entered(ANYONE) as batcher:
            leaving = asyncio.create_task(change(engine, settings(fallback="", also=())))
            await until(lambda: BGE not in engine.models)
            assert (await batcher.submit([[9]], ANYONE)).vectors[0, 0] == 9
        await leaving
        with pytest.raises(ModelNotFoundError):
            engine.find(BGE)
        with pytest.raises(OverloadedError):
            await bge.entered(ANYONE).__aenter__()
        assert shown(metrics, BGE) is None


async def test_another_primary_model_is_warm_before_it_is_primary(obedient):
    async with open_engine(settings(also=()), Metrics()) as engine:
        applying = asyncio.create_task(change(engine, settings(primary=GTE, fallback=MINI)))
        names = []
        while not applying.done():
            names.append((engine.primary.name, engine.find("text-embedding-3-small").name))
            assert engine.primary.ready
            await asyncio.sleep(0.005)
        await applying
        assert set(names) == {(MINI, MINI), (GTE, GTE)}
        assert list(engine.models) == [GTE, MINI]
        assert not engine.find(MINI).card.primary


async def test_where_one_model_cannot_be_loaded_all_stays_as_it_was(obedient, builds, metrics, tmp_path):
    (tmp_path / "fault").write_text("something")
    builds[GTE] = Unless(tmp_path / "fault")
    async with open_engine(settings(also=()), metrics) as engine:
        before = dict(engine.names)
        changes = {**SHORTER, BGE: ModelOverrides(aliases=("b",))}
        asked = settings(primary=BGE, fallback=MINI, settings=changes)
        with pytest.raises(ConfigurationError, match=f"{GTE} cannot be used: .*something is wrong"):
            await change(engine, asked)
        assert engine.names == before
        assert engine.primary.name == MINI
        assert await ask(engine, MINI) != await ask(engine, BGE)
        assert [shown(metrics, name) for name in (MINI, BGE, GTE)] == [1, 1, None]
        (tmp_path / "fault").unlink()
        await change(engine, asked)
        assert list(engine.models) == [BGE, MINI, GTE]


def never(*arguments):
    raise AssertionError(arguments)


async def test_what_cannot_be_configured_is_told_before_anything_is_loaded(obedient, monkeypatch):
    async with open_engine(settings(also=()), Metrics()) as engine:
        before = dict(engine.names)
        monkeypatch.setattr(module, "open_weights", never)
        for wrong, message in (
            ({"settings": {MINI: ModelOverrides(aliases=(BGE,))}}, "is a name of both"),
            ({"settings": {BGE: ModelOverrides(dimensions=4, allow_dimensions=True)}}, "has 3 only"),
        ):
            with pytest.raises(ConfigurationError, match=message):
                await change(engine, settings(**wrong))
        assert engine.names == before


async def test_one_that_is_named_no_more_is_found_until_everybody_knows(obedient):
    async with open_engine(settings(also=()), Metrics()) as engine:
        await engine.apply(
            settings(fallback="", also=(), settings={MINI: ModelOverrides(aliases=("b", BGE))})
        )
        assert engine.find(BGE).name == MINI
        await engine.apply(settings(primary=GTE, fallback="", also=()))
        assert list(engine.models) == [GTE]
        assert await ask(engine, MINI) != await ask(engine, GTE)
        with pytest.raises(ModelNotFoundError):
            engine.find("b")
        await engine.settle()
        with pytest.raises(ModelNotFoundError):
            engine.find(MINI)
        assert list(engine.names) == [GTE, "thenlper/gte-large", *OPENAI_NAMES]


async def test_who_has_found_a_model_can_enter_it_though_it_is_replaced_meanwhile(obedient):
    async with open_engine(settings(fallback="", also=()), Metrics()) as engine:
        before = engine.primary
        with before.held():
            applying = asyncio.create_task(change(engine, settings(fallback="", also=(), settings=SHORTER)))
            await until(lambda: engine.primary is not before)
            async with before.entered(ANYONE) as batcher:
                assert (await batcher.submit([[9]], ANYONE)).vectors[0, 0] == 9
        await applying
        with pytest.raises(OverloadedError):
            before.held().__enter__()


async def test_a_service_that_stops_in_the_middle_leaves_nothing(obedient, builds, tmp_path):
    async with open_engine(settings(fallback="", also=()), Metrics()) as engine:
        with engine.primary.held():
            applying = asyncio.create_task(change(engine, settings(fallback="", also=(), settings=SHORTER)))
            await until(lambda: engine._leaving)
            applying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await applying
        [left] = engine._leaving
    assert left.batcher.pool.replicas == []
    assert not engine._leaving


def make_folder(folder, weights):
    """A model's folder, as far as an obedient encoder needs one."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 32, "hidden_size": 3}))
    (folder / "tokenizer.json").write_text(fake.tokenizer().to_str())
    (folder / "model.safetensors").write_bytes(weights)
    return folder


async def test_other_files_in_the_same_folder_are_another_model(obedient, tmp_path):
    make_folder(tmp_path / "mine", b"these")
    chosen = settings(encoder="auto", primary="mine", fallback="", also=(), folder=tmp_path)
    async with open_engine(chosen, Metrics()) as engine:
        process, card = await ask(engine, "mine"), engine.primary.card
        assert card.files.revision.startswith("folder-")
        await change(engine, chosen)
        assert (await ask(engine, "mine"), engine.primary.card) == (process, card)
        make_folder(tmp_path / "mine", b"those")
        processes, after = await apply_under_load(engine, chosen, "mine")
        assert processes == {process, after}
        changed = engine.primary.card
        assert changed.files.revision not in ("folder", card.files.revision)
        assert changed.space != card.space
        assert engine.primary.state is State.READY
