"""Which encoder a device gets, in which precision, for batches of which size."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models

from embedsvc.config import EngineSettings
from embedsvc.engine import choice, packed_cuda, reference
from embedsvc.engine.choice import CPU_BATCH, GPU_BATCH, EncoderChoice, batch_limits
from embedsvc.engine.fingerprint import fingerprint
from embedsvc.engine.limits import BatchLimits
from embedsvc.engine.packed_cuda import WarmUp
from embedsvc.engine.placing import Options
from embedsvc.errors import ConfigurationError

GPU = "cuda:0"


class Recorder:
    """Stands in for what needs a GPU, and keeps what it is asked for."""

    def __init__(self, uncompiled=None):
        self.asked = None
        self.warm_up = WarmUp(seconds=1.23, shapes=36, uncompiled=uncompiled)

    def __call__(self, *asked):
        self.asked = asked
        return self


@pytest.fixture
def cuda(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(packed_cuda, "load", recorder)
    return recorder


@pytest.fixture
def other(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(reference, "ReferenceEncoder", recorder)
    return recorder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_models.build_published(tiny_models.CATALOG_SHAPES[0], tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("encoder", ["auto", "packed"])
def test_a_gpu_gets_the_packed_encoder_in_half_precision_for_large_batches(folder, cuda, encoder):
    assert choice.build(EncoderChoice(folder, encoder, "auto"), GPU) is cuda
    assert cuda.asked[0] == folder
    assert cuda.asked[2] == Options(GPU, "float16", *GPU_BATCH)


def test_a_gpu_s_precision_and_batches_can_be_set(folder, cuda):
    choice.build(EncoderChoice(folder, "auto", "bfloat16", batch_tokens=8192, batch_texts=64), GPU)
    assert cuda.asked[2] == Options(GPU, "bfloat16", 8192, 64)


@pytest.mark.parametrize(("precision", "computed"), [("auto", "float16"), ("float32", "float32")])
def test_any_other_encoder_of_a_gpu_has_its_precision_too(folder, other, precision, computed):
    assert choice.build(EncoderChoice(folder, "sentence-transformers", precision), GPU) is other
    assert other.asked == (folder, GPU, computed)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_cpu_computes_in_no_16_bit_format(folder, precision):
    with pytest.raises(ConfigurationError, match=rf"engine\.precision: nothing computes {precision} on cpu"):
        choice.build(EncoderChoice(folder, "auto", precision), "cpu")


def test_the_log_says_why_kernels_are_not_compiled(folder, monkeypatch):
    warnings = []
    log = SimpleNamespace(info=lambda *_, **__: None, warning=lambda *_, **fields: warnings.append(fields))
    monkeypatch.setattr(choice, "log", log)
    monkeypatch.setattr(packed_cuda, "load", Recorder(uncompiled="no C compiler"))
    choice.build(EncoderChoice(folder, "auto", "auto"), GPU)
    assert warnings == [{"device": GPU, "reason": "no C compiler"}]


@pytest.fixture
def own(folder, tmp_path):
    """A copy of the model's files, to be written over."""
    return Path(shutil.copytree(folder, tmp_path / "own"))


def overwrite(path):
    """Change the numbers of a file of weights where they lie."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(bytes(size - size // 2))


@pytest.mark.parametrize("encoder", ["packed", "sentence-transformers"])
def test_what_is_loaded_does_not_change_with_its_files(own, encoder):
    built = choice.build(EncoderChoice(own, encoder, "auto"), "cpu")
    texts = [[5, 1000, 2000, 3000], [7]]
    before = built.encode(texts)
    overwrite(own / "model.safetensors")
    np.testing.assert_array_equal(built.encode(texts), before)
    after = choice.build(EncoderChoice(own, encoder, "auto"), "cpu").encode(texts)
    assert not np.array_equal(after, before)


@pytest.mark.parametrize("encoder", ["packed", "sentence-transformers"])
def test_files_that_are_others_than_those_that_were_read_are_not_loaded(own, encoder):
    wanted = EncoderChoice(own, encoder, "auto", fingerprint=fingerprint(own))
    assert choice.build(wanted, "cpu").dimensions
    overwrite(own / "model.safetensors")
    with pytest.raises(ConfigurationError, match=f"the files in {own} are others than when they were read"):
        choice.build(wanted, "cpu")


@pytest.mark.parametrize(("device", "batch"), [("cpu", CPU_BATCH), (GPU, GPU_BATCH)])
def test_batches_are_as_large_as_the_device_likes(device, batch):
    assert batch_limits(EngineSettings(), device, padded=False) == BatchLimits(*batch, padded=False)


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_batches_are_as_large_as_is_configured(device):
    settings = EngineSettings(batch_tokens=2048, batch_texts=32)
    assert batch_limits(settings, device, padded=True) == BatchLimits(2048, 32, padded=True)
