"""Which devices there are. Asks torch, and nothing else does outside the encoders."""

from collections.abc import Sequence

import torch

from embedsvc.errors import ConfigurationError


def gpu_name() -> str | None:
    """Name the first GPU, if there is one."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def resolve(wanted: Sequence[str]) -> list[str]:
    """Turn `engine.devices` into one torch device for each replica.

    Raises:
        ConfigurationError: A device that this machine does not have.
    """
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    devices: list[str] = []
    for name in wanted:
        if name == "auto":
            devices.extend(gpus or ["cpu"])
        elif name == "cpu" or name in gpus:
            devices.append(name)
        elif name == "cuda" and gpus:
            devices.append(gpus[0])
        else:
            raise ConfigurationError(
                f"engine.devices: {name!r} is not on this machine; it has {', '.join(['cpu', *gpus])}"
            )
    return devices
