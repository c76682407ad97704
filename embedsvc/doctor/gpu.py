"""GPUs: whether torch sees those that are asked for. It is asked in another process, as by the server."""

import asyncio
import ctypes
import json
import shutil
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedsvc.config import Settings
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.engine.devices import DRIVER, Devices
from embedsvc.errors import ConfigurationError

SUBJECT = Subject("GPU")

ASK = """
import json, torch
gpus = [torch.cuda.get_device_properties(at) for at in range(torch.cuda.device_count())]
print(json.dumps({"cuda": torch.version.cuda, "gpus": [[gpu.name, gpu.total_memory] for gpu in gpus]}))
"""

NVIDIA_SMI = ("nvidia-smi", "--query-gpu=driver_version,memory.used", "--format=csv,noheader,nounits")
"""NVIDIA's own program; it comes with the driver."""

CARD = Path("/dev/nvidiactl")
"""What the driver makes where there is a GPU."""

GIBIBYTE = 2**30
DRIVER_ADVICE = (
    "torch's CUDA 13 wants driver 580 or newer. In a container: the NVIDIA Container Toolkit on the host, "
    "and a reservation of a GPU (docker-compose.yml), or nvidia.com/gpu in Kubernetes"
)
BUILD_ADVICE = "Install torch's build for CUDA, and not the one for CPUs"


@dataclass(frozen=True, slots=True)
class Torch:
    """What torch says.

    Attributes:
        cuda: The CUDA that it was built for; None: a build for CPUs.
        gpus: The name and the bytes of each GPU.
        complaint: What it wrote beside that.
    """

    cuda: str | None
    gpus: Sequence[tuple[str, int]]
    complaint: str = ""


NONE = Torch(None, [])


async def look(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Compare what is asked for with what there is."""
    wanted = settings.engine.devices
    has_card = await asyncio.to_thread(_has_card)
    if all(device == "cpu" for device in wanted):
        more = ", though this machine has a GPU" if has_card else ""
        yield SUBJECT.note(
            f"engine.devices asks for none{more}", 'engine.devices = ["auto"] takes what there is'
        )
        return
    try:
        torch = await _ask() if has_card else NONE  # importing torch takes seconds
    except RuntimeError as error:
        advice = "`python -c 'import torch'` says more; install requirements/runtime.txt again"
        yield SUBJECT.error(f"torch cannot say: {error}", advice)
        return
    if torch.gpus:
        yield await _show(torch)
    yield _compare(wanted, torch, has_card=has_card)


def _has_card() -> bool:
    """Whether there is anything that torch could see."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return CARD.exists()
    return True


async def _ask() -> Torch:
    """Ask torch. Raises RuntimeError with what it wrote, where it ends badly."""
    status, out, complaint = await _run(sys.executable, "-c", ASK)
    if status:
        raise RuntimeError(complaint[-300:])
    said = json.loads(out)
    return Torch(said["cuda"], [tuple(gpu) for gpu in said["gpus"]], complaint)


async def _show(torch: Torch) -> Finding:
    names = "; ".join(
        f"cuda:{at} {name}, {size / GIBIBYTE:.0f} GiB" for at, (name, size) in enumerate(torch.gpus)
    )
    return SUBJECT.ok(f"torch, for CUDA {torch.cuda}, sees {names}; {await _driver()}")


async def _driver() -> str:
    if not shutil.which(NVIDIA_SMI[0]):
        return "nvidia-smi, which knows the driver, is not here"
    status, out, _ = await _run(*NVIDIA_SMI)
    if status:
        return f"nvidia-smi ended with status {status}"
    rows = [line.split(", ") for line in out.splitlines()]
    used = ", ".join(f"{int(memory) / 1024:.1f}" for _, memory in rows)
    return f"driver {rows[0][0]}; used memory of all its GPUs, in GiB: {used}"


def _compare(wanted: Sequence[str], torch: Torch, *, has_card: bool) -> Finding:
    advice = BUILD_ADVICE if has_card and torch.cuda is None else DRIVER_ADVICE
    try:
        devices = Devices([name for name, _ in torch.gpus]).resolve(wanted)
    except ConfigurationError as error:
        return SUBJECT.error(str(error), advice)
    if has_card and not torch.gpus:
        seen = f"there is a GPU, and torch does not see it. {torch.complaint[-300:]}".strip()
        return SUBJECT.warning(seen, advice)
    if not torch.gpus:
        return SUBJECT.note("this machine has none: models are computed on the CPU")
    return SUBJECT.ok(f"replicas of each model: {', '.join(devices)}")


async def _run(*command: str) -> tuple[int, str, str]:
    """Run a program to its end, or to that of whoever waits for it; its status and what it wrote."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out.decode(), errors.decode().strip()
