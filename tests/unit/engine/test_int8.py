"""int8 on a CPU: close to float32, the same in any company, and refused where it is not close."""

import numpy as np
import pytest
import tiny_models
import torch
from batches import batch_of, cosines

from embedsvc.config import Settings
from embedsvc.engine.int8 import Int8Linear
from embedsvc.engine.packed import PackedEncoder
from embedsvc.engine.source import open_source
from embedsvc.engine.weights import find_architecture
from embedsvc.errors import ConfigurationError


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("activate", [False, True])
def test_a_layer_computes_what_the_float32_layer_computes(rows, activate):
    torch.manual_seed(rows)
    weight, bias, inputs = torch.randn(64, 48), torch.randn(64), torch.randn(rows, 48)
    expected = torch.nn.functional.linear(inputs, weight, bias)
    expected = torch.nn.functional.gelu(expected) if activate else expected
    # Each factor is off by half a step of 127 at most; 48 such products are added up.
    assert torch.allclose(Int8Linear(weight, bias, activate=activate)(inputs), expected, atol=0.5)
    assert (
        torch.cosine_similarity(
            Int8Linear(weight, bias)(inputs).flatten(), inputs.matmul(weight.T).add(bias).flatten(), dim=0
        )
        > 0.9999
    )


def test_a_large_token_costs_its_neighbours_no_accuracy():
    layer, inputs = Int8Linear(torch.randn(8, 48), torch.zeros(8)), torch.randn(2, 48)
    beside = torch.stack([inputs[0], inputs[1] * 1000])
    assert torch.equal(layer(inputs)[0], layer(beside)[0])


def test_zeros_give_the_bias():
    layer = Int8Linear(torch.zeros(8, 48), torch.arange(8.0))
    assert torch.equal(layer(torch.zeros(3, 48)), torch.arange(8.0).expand(3, 8))


def settings_for(folder, **engine):
    models = {"primary": "m", "fallback": "", "settings": {"m": {"path": folder}}}
    return Settings(engine={"precision": "int8", **engine}, models=models)


@pytest.fixture(scope="module")
def minilm():
    return open_source("m", settings_for(tiny_models.MINILM)).build("cpu")


def test_the_packaged_model_is_offered_in_int8_and_agrees_up_to_the_longest_text(minilm):
    reference = PackedEncoder(tiny_models.MINILM, find_architecture(tiny_models.MINILM))
    batch = batch_of([6, 20, 64, 130, 300, 512], words=30_000)
    vectors = minilm.encode(batch)
    assert not np.array_equal(vectors, reference.encode(batch))
    assert cosines(vectors, reference.encode(batch)).min() >= 0.985


def test_a_vector_does_not_depend_on_its_batch(minilm):
    batch = batch_of([40, 3, 17, 41, 90, 16, 18], words=30_000)
    alone = np.concatenate([minilm.encode([tokens]) for tokens in batch])
    assert cosines(minilm.encode(batch), alone).min() >= 0.9999


def test_a_model_that_int8_moves_too_far_is_refused_with_its_cosine(tmp_path, monkeypatch):
    folder = tiny_models.build_published(tiny_models.CATALOG_SHAPES[0], tmp_path)
    monkeypatch.setattr("embedsvc.engine.int8.LARGEST", 3)
    with pytest.raises(ConfigurationError, match=r"engine\.precision: int8 .* cosine of 0\.\d+ .* 0\.985"):
        open_source("m", settings_for(folder)).build("cpu")


@pytest.mark.parametrize(
    ("encoder", "device"), [("onnx", "cpu"), ("sentence-transformers", "cpu"), ("auto", "cuda")]
)
def test_where_nothing_computes_int8_it_is_refused(encoder, device):
    source = open_source("m", settings_for(tiny_models.MINILM, encoder=encoder))
    with pytest.raises(ConfigurationError, match=r"engine\.precision: int8"):
        source.build(device)


def test_auto_is_float32(tmp_path):
    folder = tiny_models.build_published(tiny_models.CATALOG_SHAPES[0], tmp_path)
    chosen = open_source("m", settings_for(folder, precision="auto")).build("cpu")
    plain = PackedEncoder(folder, find_architecture(folder))
    batch = batch_of([5, 30])
    assert np.array_equal(chosen.encode(batch), plain.encode(batch))
