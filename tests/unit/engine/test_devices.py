"""devices: what the machine has, and what is asked for."""

import sys

import pytest

from embedsvc.engine import devices as module
from embedsvc.engine.devices import Devices, find_devices
from embedsvc.errors import ConfigurationError

ONE, TWO = Devices(["NVIDIA H200"]), Devices(["NVIDIA H200", "NVIDIA L4"])


@pytest.mark.parametrize(
    ("there", "wanted", "found"),
    [
        (Devices(), ["auto"], ["cpu"]),
        (Devices(), ["cpu", "cpu"], ["cpu", "cpu"]),
        (TWO, ["auto"], ["cuda:0", "cuda:1"]),
        (TWO, ["cuda"], ["cuda:0"]),
        (TWO, ["cuda:1", "cuda:1", "cpu"], ["cuda:1", "cuda:1", "cpu"]),
    ],
)
def test_devices_are_one_for_each_replica(there, wanted, found):
    assert there.resolve(wanted) == found


@pytest.mark.parametrize(("there", "wanted"), [(Devices(), "cuda"), (ONE, "cuda:1"), (ONE, "tpu")])
def test_a_device_that_is_not_there_is_named_beside_those_that_are(there, wanted):
    with pytest.raises(ConfigurationError, match=rf"engine\.devices: '{wanted}'.*it has cpu"):
        there.resolve([wanted])


def test_the_first_gpu_is_named():
    assert (Devices().gpu_name, TWO.gpu_name) == (None, "NVIDIA H200")


async def test_without_a_driver_there_is_no_gpu_and_torch_is_not_asked(monkeypatch):
    monkeypatch.setattr(module, "DRIVER", "libnothing.so.1")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert await find_devices() == Devices()


async def test_with_a_driver_torch_is_asked(monkeypatch):
    monkeypatch.setattr(module, "DRIVER", "libc.so.6")
    monkeypatch.setattr(module, "ASK", "print('[\"NVIDIA H200\"]')")
    assert await find_devices() == ONE


async def test_torch_that_cannot_answer_stops_the_start_with_what_it_said(monkeypatch):
    monkeypatch.setattr(module, "DRIVER", "libc.so.6")
    monkeypatch.setattr(module, "ASK", "raise SystemExit('the driver is too old')")
    with pytest.raises(ConfigurationError, match="the driver is too old"):
        await find_devices()


async def test_what_is_asked_is_torch_s_to_answer(monkeypatch):
    monkeypatch.setattr(module, "DRIVER", "libc.so.6")
    assert isinstance((await find_devices()).gpus, list)
