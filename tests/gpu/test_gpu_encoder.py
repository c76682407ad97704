"""The GPU's encoder on a GPU: what no test on a CPU can see."""

import threading

import numpy as np
import pytest
import torch
from gpu_models import Spec, make_model

from embedsvc.engine import placing
from embedsvc.engine.memory import is_out_of_memory, release_cached_memory
from embedsvc.engine.packed import PackedEncoder
from embedsvc.engine.packed_cuda import load
from embedsvc.engine.placing import Options
from embedsvc.engine.weights import find_architecture

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")

DEVICE = "cuda:0"
WORDS = 1000
SHAPE = {"layers": 3, "heads": 4, "dimensions": 128, "inner": 256, "words": WORDS}
LENGTHS = {
    "one": [5],
    "one token": [1],
    "a tile": [128],
    "equal": [9] * 4,
    "short": [16] * 60,
    "mixed, in no order": [40, 3, 17, 3, 256, 41, 512, 90, 16, 5],
    "more tokens than any shape": [512] * 9,
    "more texts than any shape": [2] * 200,
}
LEAST_COSINE = {"float32": 0.99999, "float16": 0.999, "bfloat16": 0.99}  # random weights are louder than real


def batch_of(lengths):
    random = np.random.default_rng(sum(lengths))
    return [random.integers(5, WORDS, length).tolist() for length in lengths]


def cosines(one, other):
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def opened(folder, precision="float16"):
    return load(folder, find_architecture(folder), Options(DEVICE, precision, 4000, 128))  # not whole tiles


@pytest.fixture(scope="module", params=["bert", "mpnet"])
def folder(request, tmp_path_factory):
    return make_model(Spec(request.param, request.param, **SHAPE), tmp_path_factory.mktemp("m") / "model")


@pytest.fixture(scope="module")
def reference(folder):
    return PackedEncoder(folder, find_architecture(folder))


@pytest.fixture(scope="module")
def encoder(folder):
    return opened(folder)


@pytest.mark.parametrize("precision", LEAST_COSINE)
def test_vectors_are_those_of_float32_on_a_cpu(folder, reference, precision):
    encoder = opened(folder, precision)
    for lengths in LENGTHS.values():
        batch = batch_of(lengths)
        assert cosines(encoder.encode(batch), reference.encode(batch)).min() >= LEAST_COSINE[precision]


def test_vectors_are_the_same_without_a_tool_chain(folder, reference, monkeypatch):
    monkeypatch.setattr(placing, "why_uncompiled", lambda _: "no compiler")
    encoder, batch = opened(folder), batch_of(LENGTHS["mixed, in no order"])
    assert encoder.warm_up.uncompiled == "no compiler"
    assert cosines(encoder.encode(batch), reference.encode(batch)).min() >= LEAST_COSINE["float16"]


def test_kernels_are_compiled_and_shapes_made_ready(encoder):
    assert encoder.warm_up.uncompiled is None
    assert encoder.warm_up.shapes > 10
    assert encoder.gpu_memory() > 0


def test_batches_under_way_are_collected_each_with_its_own_vectors_by_another_thread(encoder):
    random = np.random.default_rng(0)
    batches = [batch_of(random.integers(1, 300, random.integers(1, 12)).tolist()) for _ in range(100)]
    wanted = [encoder.encode(batch) for batch in batches]
    free, launched, vectors = threading.Semaphore(encoder.depth), [], []
    there = threading.Semaphore(0)

    def collect():
        for _ in batches:
            there.acquire()
            vectors.append(launched.pop(0)())
            free.release()

    thread = threading.Thread(target=collect)
    thread.start()
    for batch in batches:
        free.acquire()
        launched.append(encoder.launch(batch))
        there.release()
    thread.join()
    assert min(cosines(one, other).min() for one, other in zip(vectors, wanted, strict=True)) >= 0.9999


def test_memory_is_flat_over_batches_of_all_lengths(encoder):
    random = np.random.default_rng(0)

    def some_batches():
        for _ in range(200):
            encoder.encode(batch_of(random.integers(1, 512, random.integers(1, 20)).tolist()))

    some_batches()
    before = torch.cuda.memory_allocated(DEVICE)
    some_batches()
    assert torch.cuda.memory_allocated(DEVICE) == before


def test_after_memory_ran_out_batches_go_on(encoder):
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8, device=DEVICE)
    assert is_out_of_memory(caught.value)
    release_cached_memory()
    assert encoder.encode(batch_of([5, 300])).shape == (2, SHAPE["dimensions"])
