"""dimensions: the length of vectors, as a model's files say."""

import json
from pathlib import Path

import pytest
import tiny_models
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

from embedsvc.engine.dimensions import find_dimensions

SHAPE = tiny_models.Shape("tiny", max_tokens=32)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    """That of a tiny model."""
    return Transformer(str(tiny_models.build(SHAPE, tmp_path_factory.mktemp("tiny"))))


@pytest.mark.parametrize("modes", ["mean", "cls", ("mean", "max"), ("cls", "mean", "weightedmean")])
@pytest.mark.parametrize("dense", [True, False])
def test_it_is_what_sentence_transformers_says(transformer, tmp_path, modes, dense):
    pooling = Pooling(32, modes)
    further = [Dense(pooling.pooling_output_dimension, 5)] if dense else []
    model = SentenceTransformer(modules=[transformer, pooling, *further, Normalize()], device="cpu")
    model.save(str(tmp_path))
    assert find_dimensions(tmp_path) == model.get_embedding_dimension()


def test_files_as_they_were_written_before_are_read(tmp_path):
    make(tmp_path, [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")])
    (tmp_path / "1_Pooling").mkdir()
    legacy = {
        "word_embedding_dimension": 768,
        "pooling_mode_cls_token": True,
        "pooling_mode_max_tokens": True,
    }
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(legacy))
    assert find_dimensions(tmp_path) == 2 * 768


def test_the_packaged_model_says_384():
    assert find_dimensions(tiny_models.MINILM) == 384


def test_a_folder_without_modules_is_a_transformer_with_a_mean(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 16}))
    assert find_dimensions(tmp_path) == 16


@pytest.mark.parametrize("kinds", [["Transformer", "CNN"], ["WordEmbeddings", "Pooling"]])
def test_of_a_module_that_is_not_known_nothing_is_said(tmp_path, kinds):
    make(tmp_path, [(kind, f"{at}_{kind}") for at, kind in enumerate(kinds)])
    assert find_dimensions(tmp_path) is None


def make(folder: Path, modules):
    (folder / "config.json").write_text(json.dumps({"hidden_size": 16}))
    named = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in modules]
    (folder / "modules.json").write_text(json.dumps(named))
