"""gpu: what torch sees, beside what is asked for. No GPU was at hand: what torch answers is made up."""

import json
import stat

import pytest
from patient import levels, only

from embedsvc.doctor import gpu
from embedsvc.doctor.gpu import look

H200 = ["NVIDIA H200", 150_754_820_096]


@pytest.fixture
def torch_says(monkeypatch, tmp_path):
    """Has torch, and NVIDIA's program, say something on a machine with a card."""

    def say(gpus=(), cuda="13.0", complaint="", smi=None):
        card = tmp_path / "card"
        card.touch()
        monkeypatch.setattr(gpu, "CARD", card)
        said = json.dumps({"cuda": cuda, "gpus": list(gpus)})
        monkeypatch.setattr(gpu, "ASK", f"import sys; print({said!r}); print({complaint!r}, file=sys.stderr)")
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{smi or 'exit 9'}\n")
        program.chmod(stat.S_IRWXU)
        monkeypatch.setattr(gpu, "NVIDIA_SMI", (str(program),))

    return say


async def test_without_any_auto_means_the_cpu(patient, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "DRIVER", "libnothing.so.1")
    monkeypatch.setattr(gpu, "CARD", tmp_path / "none")
    (told,) = await patient.examine_waiting(look)
    assert (told.level, told.seen) == ("note", "this machine has none: models are computed on the CPU")
    told = only(await patient.having("engine", devices=("cuda:0",)).examine_waiting(look), "error")
    assert "'cuda:0' is not on this machine" in told.seen
    assert "driver 580" in told.advice


async def test_a_gpu_that_torch_sees_is_shown_with_its_memory_and_driver(patient, torch_says):
    torch_says([H200, H200], smi='printf "580.65.06, 2048\\n580.65.06, 0\\n"')
    seen, used = await patient.examine_waiting(look)
    assert levels([seen, used]) == {"ok"}
    assert seen.seen == (
        "torch, for CUDA 13.0, sees cuda:0 NVIDIA H200, 140 GiB; cuda:1 NVIDIA H200, 140 GiB; "
        "driver 580.65.06; used memory of all its GPUs, in GiB: 2.0, 0.0"
    )
    assert used.seen == "replicas of each model: cuda:0, cuda:1"


async def test_nvidias_program_is_not_needed(patient, torch_says, monkeypatch):
    torch_says([H200])
    assert "ended with status 9" in (await patient.examine_waiting(look))[0].seen
    monkeypatch.setattr(gpu, "NVIDIA_SMI", ("no-such-program",))
    assert "is not here" in (await patient.examine_waiting(look))[0].seen


async def test_a_gpu_that_torch_does_not_see_is_a_warning_with_what_torch_said(patient, torch_says):
    torch_says([], complaint="The NVIDIA driver on your system is too old")
    told = only(await patient.examine_waiting(look), "warning")
    assert told.seen == (
        "there is a GPU, and torch does not see it. The NVIDIA driver on your system is too old"
    )
    assert "driver 580" in told.advice


async def test_torch_for_cpus_beside_a_gpu_is_told(patient, torch_says):
    torch_says([], cuda=None)
    told = only(await patient.examine_waiting(look), "warning")
    assert "build for CUDA" in told.advice


async def test_a_gpu_that_is_asked_for_and_not_there_is_an_error(patient, torch_says):
    torch_says([H200])
    told = only(await patient.having("engine", devices=("cuda:1",)).examine_waiting(look), "error")
    assert "'cuda:1' is not on this machine; it has cpu, cuda:0" in told.seen


async def test_a_gpu_that_nobody_asks_for_is_a_note(patient, torch_says):
    torch_says([H200])
    (told,) = await patient.having("engine", devices=("cpu",)).examine_waiting(look)
    assert told.level == "note"
    assert "though this machine has a GPU" in told.seen


async def test_torch_that_does_not_start_is_an_error_with_what_it_said(patient, torch_says, monkeypatch):
    torch_says()
    monkeypatch.setattr(gpu, "ASK", "raise SystemExit('libcudart.so.13: cannot open')")
    told = only(await patient.examine_waiting(look), "error")
    assert told.seen == "torch cannot say: libcudart.so.13: cannot open"


async def test_torch_answers_what_it_is_asked(patient, torch_says, monkeypatch):
    asked = gpu.ASK
    torch_says()
    monkeypatch.setattr(gpu, "ASK", asked)
    assert "torch cannot say" not in repr(await patient.examine_waiting(look))
