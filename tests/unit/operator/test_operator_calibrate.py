"""`embedsvc calibrate`: ranges of a model's vectors, written where the server looks for them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from embedsvc.calibration import read
from embedsvc.config import EngineSettings, ModelSettings, Settings
from embedsvc.engine.catalog import CATALOG
from embedsvc.engine.engine import open_engine
from embedsvc.engine.tokenizer import Asked
from embedsvc.errors import OverloadedError
from embedsvc.metrics import Metrics
from embedsvc.operator import calibrate_command
from embedsvc.operator.calibrating import AT_ONCE, CALLER, find_ranges

MINI, E5 = "all-MiniLM-L6-v2", "e5-large-v2"
TEXTS = [f"{word} number {at}" for at in range(60) for word in ("apple", "bicycle", "ministry")]


@pytest.fixture
def fake():
    """Opens an engine that computes quickly."""

    def open_one(model):
        engine = EngineSettings(encoder="fake", devices=("cpu",))
        return open_engine(
            Settings(engine=engine, models=ModelSettings(primary=model, fallback="")), Metrics()
        )

    return open_one


class Prompted:
    """A model that has prompts."""

    def __init__(self, model, prompts):
        self.card = replace(model.card, files=replace(model.card.files, prompts=prompts))
        self.tokenizer, self.dimensions, self.entered = model.tokenizer, model.dimensions, model.entered


async def test_texts_take_turns_with_the_prompts_of_a_model(fake):
    async with fake(E5) as engine:
        model = engine.primary
        prompts = {"query": "query: ", "document": "passage: ", "none": ""}
        ranges = await find_ranges(Prompted(model, prompts), TEXTS[:6], lambda _: None)
        parts = [
            await vectors_of(model, TEXTS[at:6:3], prompt)
            for at, prompt in enumerate(["", "query: ", "passage: "])
        ]
    vectors = np.concatenate(parts)
    np.testing.assert_allclose(ranges, [vectors.min(axis=0), vectors.max(axis=0)], rtol=1e-6)


@pytest.fixture
def mini(shell, monkeypatch):
    """A shell whose configuration serves the model with real weights alone."""
    monkeypatch.setenv("EMBEDSVC_MODELS__PRIMARY", MINI)
    monkeypatch.setenv("EMBEDSVC_MODELS__FALLBACK", "")
    return shell


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join([*TEXTS, "", "   "]) + "\n")
    return path


async def vectors_of(model, texts, prompt=""):
    """The model's vectors, one text at a time, scaled by hand."""
    (items,) = model.tokenizer.encode([Asked(texts, str, prompt)])
    async with model.entered(CALLER) as worker:
        computed = await worker.submit([item.ids for item in items], CALLER)
    return computed.vectors / np.linalg.norm(computed.vectors, axis=1, keepdims=True)


async def test_ranges_are_those_of_the_normalized_vectors_of_all_texts(fake):
    done = []
    async with fake(MINI) as engine:
        ranges = await find_ranges(engine.primary, TEXTS, done.append)
        vectors = await vectors_of(engine.primary, TEXTS)
    np.testing.assert_allclose(ranges, [vectors.min(axis=0), vectors.max(axis=0)], rtol=1e-6)
    assert ranges.dtype == np.float32
    assert done == [AT_ONCE, AT_ONCE, len(TEXTS) - 2 * AT_ONCE]


def test_a_model_that_does_not_answer_is_told(mini, texts, monkeypatch):
    async def fail(*_arguments):
        raise OverloadedError("no replica of the model works")

    monkeypatch.setattr(calibrate_command, "find_ranges", fail)
    told = mini("calibrate", MINI, texts, status=2).err
    assert f"embedsvc: calibration of {MINI}: no replica of the model works" in told
    assert not list(mini.folder.rglob(f"{MINI}.json"))


def test_it_is_written_where_the_server_looks_for_it(mini, texts):
    ran = mini("calibrate", MINI, texts)
    path = mini.folder / ".run" / "calibrations" / f"{MINI}.json"
    found = read(path)
    assert (found.model, found.revision, found.dimensions) == (MINI, CATALOG[MINI].revision, 384)
    assert (found.ranges[0] < found.ranges[1]).all()
    assert json.loads(path.read_text())["texts"] == len(TEXTS)
    assert f"{MINI}.json: {MINI} at {CATALOG[MINI].revision}, of {len(TEXTS)} texts" in ran.out
    assert "100%" in ran.err


def test_one_of_other_weights_is_no_hindrance_to_making_it_anew(mini, texts, monkeypatch):
    path = mini.folder / "mine.json"
    path.write_text('{"model": "other", "revision": "other", "lowest": [0], "highest": [1]}')
    monkeypatch.setenv("EMBEDSVC_MODELS__SETTINGS", json.dumps({MINI: {"calibration": str(path)}}))
    mini("calibrate", MINI, texts)
    assert read(path).model == MINI


def test_of_several_models_only_that_one_is_loaded_though_it_be_lazy(mini, texts, monkeypatch):
    monkeypatch.setenv("EMBEDSVC_MODELS__PRIMARY", "all-mpnet-base-v2")  # which is not on this machine
    monkeypatch.setenv("EMBEDSVC_MODELS__FALLBACK", MINI)
    monkeypatch.setenv("EMBEDSVC_MODELS__LAZY", json.dumps([MINI]))
    mini("calibrate", MINI, texts)
    assert read(mini.folder / ".run" / "calibrations" / f"{MINI}.json").dimensions == 384


def test_it_is_written_where_it_is_wanted(mini, texts):
    out = mini.folder / "here" / "mini.json"
    mini("calibrate", MINI, texts, "--out", out)
    assert read(out).dimensions == 384
    assert not (mini.folder / ".run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gpt-4"], f"gpt-4 is not one of the configured models: {MINI}"),
        ([E5], f"{E5} is not one of the configured models: {MINI}"),
        ([MINI, "none.txt"], "none.txt: "),
        ([MINI, "few.txt"], "few.txt: must hold 100 texts or more, one a line; has 3"),
        ([MINI, "bytes.txt"], "bytes.txt: 'utf-8' codec can't decode"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(mini, arguments, said):
    (mini.folder / "few.txt").write_text("one\ntwo\n\nthree\n")
    (mini.folder / "bytes.txt").write_bytes(b"\xff\n" * 200)
    assert said in mini("calibrate", *arguments, status=2).err


def test_vectors_that_mean_nothing_are_not_calibrated(mini, monkeypatch):
    monkeypatch.setenv("EMBEDSVC_ENGINE__ENCODER", "fake")
    assert "engine.encoder is fake" in mini("calibrate", MINI, status=2).err


def test_a_place_that_cannot_be_written_is_told(mini, texts):
    (mini.folder / "file").write_text("")
    ran = mini("calibrate", MINI, texts, "--out", mini.folder / "file" / "x", status=2)
    assert "x: File exists" in ran.err
    assert "100%" not in ran.err  # before the work
