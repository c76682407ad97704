"""machine: memory, shared memory and open files."""

import resource

import pytest
from patient import levels, only

from embedsvc.doctor import machine
from embedsvc.doctor.machine import look


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """Has the machine, and the container, another memory; in MiB."""
    folder = tmp_path / "cgroup"
    folder.mkdir()
    monkeypatch.setattr(machine, "CGROUP", folder)

    def set_to(total=32_000, available=30_000, **cgroup):
        path = tmp_path / "meminfo"
        path.write_text(f"MemTotal: {total * 1024} kB\nMemAvailable: {available * 1024} kB\n")
        monkeypatch.setattr(machine, "MEMINFO", path)
        for name, text in cgroup.items():
            (folder / name.replace("_", ".")).write_text(f"{text}\n")

    set_to()
    return set_to


def test_a_machine_with_room_is_well(patient, memory):
    found = patient.examine(look)
    assert found[0].level == "ok"
    assert found[0].seen == "29.3 of 31.2 GiB of memory are free; the models need at least 1.0 in all"


def test_a_machine_that_models_do_not_fit_into_is_an_error(patient, memory):
    memory(total=2000, available=1900)
    told = only(patient.having("engine", devices=("cpu",) * 4).examine(look), "error")
    assert "the models need at least 2.5" in told.seen
    assert "fewer models" in told.advice


def test_a_container_has_what_its_limit_leaves(patient, memory):
    memory(memory_max=512 * 2**20, memory_current=100 * 2**20)
    told = only(patient.examine(look), "error")
    assert told.seen.startswith("0.4 of 0.5 GiB of memory are free")


def test_a_container_without_a_limit_has_the_machines(patient, memory):
    memory(memory_max="max", memory_current=100 * 2**20)
    assert patient.examine(look)[0].seen.startswith("29.3 of 31.2 GiB")


def test_memory_that_is_nearly_gone_is_a_warning(patient, memory):
    memory(available=900)
    told = only(patient.examine(look), "warning")
    assert told.seen == "0.9 of 31.2 GiB of memory are free"
    assert "ps aux" in told.advice


def test_processes_that_the_kernel_has_killed_are_a_warning(patient, memory):
    memory(memory_events="low 0\noom 3\noom_kill 2")
    told = only(patient.examine(look), "warning")
    assert told.seen == "the kernel has killed 2 processes here, for want of memory"
    memory(memory_events="low 0\noom 0\noom_kill 0")
    assert "warning" not in levels(patient.examine(look))


def test_models_that_are_not_there_yet_do_not_count(patient, memory):
    found = patient.having("models", primary="all-mpnet-base-v2", hub=False).examine(look)
    assert found[0].seen.endswith("need at least 0.9 in all")


def test_little_shared_memory_is_a_warning(patient, memory, monkeypatch):
    monkeypatch.setattr(machine, "SHARED_BYTES", 2**60)
    told = only(patient.examine(look), "warning")
    assert told.seen.startswith("shared memory: ")
    assert "shm_size" in told.advice


@pytest.mark.parametrize(("limit", "level"), [(1024, "note"), (65_536, "ok"), (resource.RLIM_INFINITY, "ok")])
def test_few_open_files_are_a_note(patient, memory, monkeypatch, limit, level):
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (limit, limit))
    told = patient.examine(look)[-1]
    assert told.level == level
    assert ("ulimit -n" in told.advice) is (level == "note")
