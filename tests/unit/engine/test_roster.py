"""roster: which models are served together, and whether they can be, before any of them is loaded."""

import json

import pytest

from embedsvc.config import EngineSettings, ModelOverrides, ModelSettings, Settings
from embedsvc.engine import fake
from embedsvc.engine.budget import Budget
from embedsvc.engine.loader import Loader, Weights
from embedsvc.engine.roster import check, roster_of
from embedsvc.engine.served import ServedModel
from embedsvc.engine.source import open_source
from embedsvc.errors import ConfigurationError
from embedsvc.metrics import Metrics

MINI, BGE = "all-MiniLM-L6-v2", "bge-large-en-v1.5"


def make(source):
    """A model that nobody will load."""
    weights = Weights(source.card.name, source.card.files.weights_bytes, None)
    return ServedModel(source, Loader(weights, Budget(None), Metrics().loading, None), ["cpu"])


def roster(served=None, encoder="fake", **models):
    chosen = ModelSettings(**{"primary": MINI, "fallback": BGE, **models})
    settings = Settings(engine=EngineSettings(encoder=encoder), models=chosen)
    made = roster_of([open_source(name, settings) for name in chosen.served], served or {}, make)
    check(made, chosen)
    return made


def test_models_are_found_by_every_name():
    found = roster(settings={BGE: ModelOverrides(aliases=("ours",))})
    assert list(found.models) == [MINI, BGE]
    assert found.names["ours"] is found.names["BAAI/bge-large-en-v1.5"] is found.models[BGE]
    assert found.names["text-embedding-3-large"] is found.models[MINI]


def test_a_name_of_two_models_is_a_mistake():
    with pytest.raises(ConfigurationError, match=f"{MINI!r} is a name of both {MINI} and {BGE}"):
        roster(settings={BGE: ModelOverrides(aliases=(MINI,))})


def test_what_has_not_changed_is_taken_over_as_it_is():
    before = roster()
    after = roster(before.models)
    assert after.models == before.models
    assert after.loaders == before.loaders


@pytest.mark.parametrize(
    "changed",
    [
        {"primary": BGE, "fallback": MINI},
        {"settings": {MINI: ModelOverrides(aliases=("ours",))}},
        {"settings": {MINI: ModelOverrides(allow_dimensions=True, dimensions=8)}},
    ],
)
def test_what_is_said_of_a_model_changes_without_its_weights(changed):
    before = roster()
    after = roster(before.models, **changed)
    assert after.models[MINI] is not before.models[MINI]
    assert after.models[MINI].card != before.models[MINI].card
    assert after.loaders == before.loaders


def test_one_that_reads_texts_of_another_length_has_weights_of_its_own():
    before = roster()
    after = roster(before.models, settings={MINI: ModelOverrides(max_tokens=9)})
    assert after.models[MINI].loader is not before.models[MINI].loader
    assert after.models[BGE] is before.models[BGE]


@pytest.mark.parametrize(
    ("kinds", "weights", "missing"),
    [(["Transformer"], 4, None), (["Transformer", "CNN"], 4, "dimensions"), (["Transformer"], 0, "weights")],
)
def test_what_is_not_loaded_must_be_told_by_the_files_of_a_lazy_model(tmp_path, kinds, weights, missing):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"hidden_size": 3}))
    (folder / "modules.json").write_text(json.dumps([{"type": kind, "path": ""} for kind in kinds]))
    (folder / "tokenizer.json").write_text(fake.tokenizer().to_str())
    (folder / "model.safetensors").write_bytes(b"x" * weights)
    names = {"primary": MINI, "fallback": "m", "folder": tmp_path, "encoder": "auto"}
    assert roster(**names).models["m"].loader.size == weights
    if missing is None:
        assert roster(**names, lazy=("m",)).models["m"].dimensions == 3
        return
    with pytest.raises(ConfigurationError, match=f"models.lazy: the files of m in .* have no {missing}"):
        roster(**names, lazy=("m",))
