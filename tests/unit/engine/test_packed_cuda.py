"""The GPU's encoder, on a CPU: the reference's vectors through shapes, lanes and two batches under way."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
import torch

from embedsvc.engine import placing
from embedsvc.engine.attention import flex, grouped, varlen
from embedsvc.engine.packed_cuda import DEPTH, CudaEncoder, load
from embedsvc.engine.placing import DTYPES, Options, choose_attention, why_uncompiled
from embedsvc.engine.reference import ReferenceEncoder
from embedsvc.engine.weights import Architecture, find_architecture

LENGTHS = {
    "one": [5],
    "equal": [9] * 4,
    "mixed, in no order": [40, 3, 17, 3, 256, 41, 90, 16, 5],
    "more tokens than any shape": [256] * 3,
    "more texts than any shape": [1] * 70,
}
LEAST_COSINE = {"float32": 0.99999, "float16": 0.9999, "bfloat16": 0.99}  # the tiny models are made loud


def batch_of(lengths, words=tiny_models.WORDS):
    random = np.random.default_rng(sum(lengths))
    return [random.integers(5, words, length).tolist() for length in lengths]


def cosines(one, other):
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def options(precision="float32", device="cpu"):
    return Options(device, precision, batch_tokens=640, batch_texts=64)


@pytest.fixture(scope="module", params=tiny_models.CATALOG_SHAPES, ids=lambda shape: shape.name)
def folder(request, tmp_path_factory):
    return tiny_models.build_published(request.param, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def encoder(folder) -> CudaEncoder:
    return load(folder, find_architecture(folder), options())


@pytest.mark.parametrize("precision", LEAST_COSINE)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_vectors_are_those_of_the_reference(folder, lengths, precision):
    encoder = load(folder, find_architecture(folder), options(precision))
    batch = batch_of(lengths)
    vectors = encoder.encode(batch)
    assert (vectors.shape, vectors.dtype) == ((len(batch), 32), np.float32)
    assert cosines(vectors, ReferenceEncoder(folder, "cpu").encode(batch)).min() >= LEAST_COSINE[precision]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_keeps_the_vectors_of_a_real_model(precision):
    encoder = load(tiny_models.MINILM, find_architecture(tiny_models.MINILM), options(precision))
    batch = batch_of([8, 16, 200])
    vectors = encoder.encode(batch)
    assert cosines(vectors, ReferenceEncoder(tiny_models.MINILM, "cpu").encode(batch)).min() >= 0.999


def test_a_vector_does_not_depend_on_its_batch(encoder):
    batch = batch_of([40, 3, 17, 41, 90, 16, 18])
    alone = np.concatenate([encoder.encode([tokens]) for tokens in batch])
    assert encoder.encode(batch) == pytest.approx(alone, abs=1e-4)


def test_batches_under_way_are_collected_each_with_its_own_vectors(encoder):
    first, second = batch_of([40, 3, 17]), batch_of([5, 90])
    wanted = encoder.encode(first), encoder.encode(second)
    collect = encoder.launch(first), encoder.launch(second)
    vectors = collect[0]()
    later = encoder.launch(second)  # takes the place of the first
    assert vectors == pytest.approx(wanted[0])
    assert collect[1]() == pytest.approx(wanted[1])
    assert later() == pytest.approx(wanted[1])


def test_no_more_batches_are_under_way_than_it_says(encoder):
    assert encoder.depth == DEPTH == 2
    collect = [encoder.launch([[5]]) for _ in range(encoder.depth)]
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(encoder.launch, [[6]])
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.05)
        collect[0]()
        assert waiting.result()() == pytest.approx(encoder.encode([[6]]))
    collect[1]()


def test_a_batch_that_cannot_be_launched_leaves_its_place_to_the_next(encoder):
    for _ in range(encoder.depth + 1):
        with pytest.raises(IndexError):
            encoder.launch([[tiny_models.WORDS]])
    assert encoder.encode([[5]]).shape == (1, 32)


def test_an_encoder_says_what_it_is(encoder):
    assert (encoder.device, encoder.dimensions, encoder.padded) == ("cpu", 32, False)
    assert encoder.gpu_memory() is None
    assert encoder.warm_up.shapes > 0
    assert encoder.warm_up.seconds > 0
    assert encoder.warm_up.uncompiled is None


BERT_BASE = Architecture("bert", layers=12, heads=12, dimensions=768, epsilon=1e-12, pooling="mean")
MPNET_BASE = Architecture("mpnet", layers=12, heads=12, dimensions=768, epsilon=1e-12, pooling="mean")
ODD_HEADS = Architecture("bert", layers=12, heads=64, dimensions=768, epsilon=1e-12, pooling="mean")


@pytest.mark.parametrize(
    ("architecture", "device", "precision", "compiled", "way"),
    [
        (BERT_BASE, "cuda:0", "float16", True, varlen),
        (BERT_BASE, "cuda:0", "bfloat16", False, varlen),
        (MPNET_BASE, "cuda:0", "float16", True, flex),
        (MPNET_BASE, "cuda:0", "float16", False, grouped),
        (BERT_BASE, "cuda:0", "float32", True, grouped),
        (MPNET_BASE, "cuda:0", "float32", True, grouped),
        (ODD_HEADS, "cuda:0", "float16", True, grouped),
        (BERT_BASE, "cpu", "float16", True, grouped),
    ],
)
def test_attention_is_the_fastest_that_can_compute_it(architecture, device, precision, compiled, way):
    bias = torch.zeros(12, 1023) if architecture is MPNET_BASE else None
    chosen = choose_attention(architecture, options(precision, device), bias, compiled=compiled)
    like = way() if way is varlen else way(torch.zeros(1, 1))
    assert chosen.attend is like.attend


def test_the_bias_is_in_the_precision_that_masks_must_have():
    known = grouped_input("float16")
    assert known.mask.dtype == DTYPES["float16"]


def grouped_input(precision):
    chosen = choose_attention(MPNET_BASE, options(precision), torch.zeros(12, 1023), compiled=True)
    places = SimpleNamespace(starts=torch.zeros(2, dtype=torch.int32))
    return chosen.prepare(places, [3])[0]


def test_a_tool_chain_that_fails_is_told_in_a_line(monkeypatch):
    def fail(function):
        raise RuntimeError("Failed to find C compiler.\nPlease specify one")

    monkeypatch.setattr(placing.torch, "compile", fail)
    monkeypatch.setattr(placing.torch, "zeros", lambda *_, device: None)
    assert why_uncompiled("cuda:0") == "RuntimeError: Failed to find C compiler."
    assert why_uncompiled("cpu") is None
