"""Which devices there are. Torch knows, and is asked in a process of its own: the server never imports it."""

import asyncio
import ctypes
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from embedsvc.errors import ConfigurationError

ASK = """
import json, torch
print(json.dumps([torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())]))
"""

DRIVER = "libcuda.so.1"
"""Without NVIDIA's driver torch finds no GPU, and need not be asked."""


@dataclass(frozen=True, slots=True)
class Devices:
    """What this machine has.

    Attributes:
        gpus: The name of each GPU, in the order of their numbers.
    """

    gpus: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """What torch calls the GPUs."""
        return [f"cuda:{index}" for index in range(len(self.gpus))]

    @property
    def gpu_name(self) -> str | None:
        """The first GPU, if there is one."""
        return self.gpus[0] if self.gpus else None

    def resolve(self, wanted: Sequence[str]) -> list[str]:
        """Turn `engine.devices` into one torch device for each replica.

        Raises:
            ConfigurationError: A device that this machine does not have.
        """
        names = self.names
        devices: list[str] = []
        for name in wanted:
            if name == "auto":
                devices.extend(names or ["cpu"])
            elif name == "cpu" or name in names:
                devices.append(name)
            elif name == "cuda" and names:
                devices.append(names[0])
            else:
                raise ConfigurationError(
                    f"engine.devices: {name!r} is not on this machine; it has {', '.join(['cpu', *names])}"
                )
        return devices


async def find_devices() -> Devices:
    """Ask what there is.

    Raises:
        ConfigurationError: Torch cannot say.
    """
    if not _has_driver():
        return Devices()
    command = [sys.executable, "-c", ASK]
    asked = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    if asked.returncode:
        raise ConfigurationError(f"engine.devices: torch cannot list GPUs: {asked.stderr.decode()[-500:]}")
    return Devices(json.loads(asked.stdout))


def _has_driver() -> bool:
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True
