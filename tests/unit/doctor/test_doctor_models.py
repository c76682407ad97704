"""models: whether their files are where the server looks, all there, and whole."""

import json
import shutil
import subprocess
import sys

import pytest
from patient import only

from embedsvc.config import ModelOverrides
from embedsvc.doctor.models import locate, look
from embedsvc.engine.catalog import CATALOG

MINILM = "all-MiniLM-L6-v2"


@pytest.fixture
def own(patient):
    """A patient that serves a model from a folder, which a test may harm."""
    folder = patient.path("models") / "own"
    shutil.copytree(locate(MINILM, patient.settings), folder)
    return patient.having("models", primary="own"), folder


def test_the_package_is_found_and_is_whole(patient):
    (found,) = patient.examine(look)
    assert found.level == "ok"
    assert f"{MINILM}: in " in found.seen
    assert found.seen.endswith("whole; 87 MiB of weights")


def test_a_folder_of_ones_own_is_found(own):
    patient, folder = own
    (found,) = patient.examine(look)
    assert found.seen.startswith(f"own: in {folder}, whole")


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"]
)
def test_a_file_that_is_missing_is_named(own, name):
    patient, folder = own
    (folder / name).unlink()
    told = only(patient.examine(look), "error")
    assert "own" in told.seen
    assert name in told.seen or "has no config.json" in told.seen
    assert str(folder) in told.advice


def test_weights_that_are_cut_off_are_told(own):
    patient, folder = own
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.truncate(weights.stat().st_size // 2)
    told = only(patient.examine(look), "error")
    assert f"{weights} is damaged or cut off" in told.seen


def test_a_part_of_weights_in_several_files_that_is_missing_is_named(own):
    patient, folder = own
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    told = only(patient.examine(look), "error")
    assert "model-00002-of-00002.safetensors: not there" in told.seen


@pytest.mark.parametrize("name", ["tokenizer.json", "modules.json"])
def test_a_file_that_does_not_parse_is_named(own, name):
    patient, folder = own
    (folder / name).write_text("<html>")
    assert name in only(patient.examine(look), "error").seen


def test_a_model_that_is_nowhere_is_told_with_the_command_that_fetches_it(patient):
    entry = CATALOG["gte-large"]
    told = only(patient.having("models", primary="gte-large", hub=False).examine(look), "error")
    assert "models.hub is off" in told.seen
    assert told.advice.startswith(f"hf download {entry.repository} --revision {entry.revision} --local-dir ")


def test_one_that_the_start_will_download_is_a_warning_and_is_not_downloaded(patient, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    told = only(patient.having("models", primary="gte-large").examine(look), "warning")
    assert told.seen.startswith("gte-large is not on this machine")
    assert "hf download" in told.advice


def test_a_path_without_a_model_is_told_whatever_the_hub_has(patient, tmp_path):
    overrides = {"gte-large": ModelOverrides(path=tmp_path)}
    told = only(patient.having("models", primary="gte-large", settings=overrides).examine(look), "error")
    assert f'models.settings."gte-large".path: no config.json in {tmp_path}' in told.seen


def test_made_up_vectors_are_a_note(patient):
    (told,) = patient.having("engine", encoder="fake").examine(look)
    assert (told.level, told.advice) == ("note", 'Set engine.encoder = "auto" to serve models')


def test_torch_is_not_imported_for_it(patient):
    ask = (
        "import sys; from embedsvc.config import Settings; from embedsvc.doctor.models import look; "
        f"settings = Settings(models={{'primary': '{MINILM}', 'fallback': ''}}); "
        "print(list(look(settings)), 'torch' in sys.modules)"
    )
    out = subprocess.check_output([sys.executable, "-c", ask], text=True, timeout=60)
    assert "level='ok'" in out
    assert out.endswith("False\n")
