"""The encoder on ONNX Runtime: sentence-transformers' vectors, from a graph that is made once."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import tiny_models
from batches import LENGTHS, batch_of, cosines

from embedsvc.config import Settings
from embedsvc.engine import onnx_graph
from embedsvc.engine.onnx_encoder import RUN_TOKENS, OnnxEncoder
from embedsvc.engine.onnx_model import OnnxModel
from embedsvc.engine.reference import ReferenceEncoder
from embedsvc.engine.source import open_source
from embedsvc.engine.weights import find_architecture
from embedsvc.errors import ConfigurationError

MINI = tiny_models.CATALOG_SHAPES[0]


@pytest.fixture(scope="module", params=tiny_models.CATALOG_SHAPES, ids=lambda shape: shape.name)
def folder(request, tmp_path_factory):
    return tiny_models.build_published(request.param, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def model(folder):
    return OnnxModel(folder, find_architecture(folder))


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    folder = tiny_models.build_published(MINI, tmp_path_factory.mktemp("mini"))
    return OnnxModel(folder, find_architecture(folder))


@pytest.fixture
def exports(monkeypatch):
    """The files that were exported."""
    made, export = [], onnx_graph.export
    monkeypatch.setattr(onnx_graph, "export", lambda *arguments: made.append(arguments) or export(*arguments))
    return made


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_vectors_are_those_of_the_reference(folder, model, cache, lengths):
    batch = batch_of(lengths)
    vectors, expected = model.load(cache).encode(batch), ReferenceEncoder(folder, "cpu").encode(batch)
    assert (vectors.shape, vectors.dtype) == ((len(batch), 32), np.float32)
    assert cosines(vectors, expected) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(vectors, expected, atol=1e-3)


def test_a_vector_does_not_depend_on_its_batch(model, cache):
    encoder = model.load(cache)
    batch = batch_of([40, 3, RUN_TOKENS, 17, 41, 90, 16, 18])
    alone = np.concatenate([encoder.encode([tokens]) for tokens in batch])
    assert encoder.encode(batch) == pytest.approx(alone, abs=1e-4)
    assert encoder.encode(batch[::-1])[::-1] == pytest.approx(alone, abs=1e-4)


def test_an_encoder_says_what_it_is(model, cache):
    encoder = model.load(cache)
    assert (encoder.device, encoder.dimensions, encoder.padded) == ("cpu", 32, False)
    assert encoder.gpu_memory() is None


def test_a_graph_is_exported_once(mini, tmp_path, exports):
    first, second = mini.load(tmp_path), mini.load(tmp_path)
    assert len(exports) == 1
    batch = batch_of([5, 9])
    np.testing.assert_array_equal(first.encode(batch), second.encode(batch))


def test_other_weights_and_other_architectures_are_other_graphs(tmp_path, exports):
    for at, shape in enumerate((MINI, replace(MINI, architecture="mpnet"))):
        made = tiny_models.build_published(shape, tmp_path / str(at))
        OnnxModel(made, find_architecture(made)).load(tmp_path / "cache")
    architecture = find_architecture(made)
    OnnxModel(made, replace(architecture, epsilon=1e-3)).load(tmp_path / "cache")
    assert len(exports) == 3


def test_another_version_of_what_makes_a_graph_makes_it_anew(mini, tmp_path, exports, monkeypatch):
    mini.load(tmp_path)
    monkeypatch.setattr("onnxruntime.__version__", "0.0")
    mini.load(tmp_path)
    assert len(exports) == 2


def settings_for(folder, tmp_path, **engine):
    models = {
        "primary": "m",
        "fallback": "",
        "settings": {"m": {"path": folder}},
        "cache": tmp_path / "cache",
    }
    return Settings(engine={"encoder": "onnx", **engine}, models=models)


def test_the_configuration_chooses_it(mini, tmp_path):
    source = open_source("m", settings_for(mini.folder, tmp_path))
    assert isinstance(source.build("cpu"), OnnxEncoder)
    assert list((tmp_path / "cache").glob("*.onnx"))


def test_a_model_or_a_device_that_it_cannot_compute_is_refused(tmp_path):
    folder = tiny_models.build_published(MINI, tmp_path)
    source = open_source("m", settings_for(folder, tmp_path))
    with pytest.raises(ConfigurationError, match=r"engine\.encoder: onnx .* on cuda"):
        source.build("cuda")
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_act": "relu"}))
    with pytest.raises(ConfigurationError, match=r"engine\.encoder: onnx computes BERT and MPNet"):
        source.build("cpu")


def test_an_installation_without_the_extra_is_told_its_name(mini, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigurationError, match=r"needs onnxscript, .* extra `onnx`"):
        open_source("m", settings_for(mini.folder, tmp_path)).build("cpu")
