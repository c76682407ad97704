"""What the CPU can do that matters to an operator's choice."""

from pathlib import Path

import structlog

VNNI = {"avx512_vnni", "avx_vnni"}
"""Linux's names for the instructions that add products of int8 in 32 bits."""

log = structlog.get_logger()


def warn_without_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Say what int8 does on an x86 CPU that has no VNNI: sums of 16 bits, which overflow silently.

    Args:
        cpuinfo: Linux's description of the CPU; nothing is said where there is none.
    """
    if not cpuinfo.exists():
        return
    lines = cpuinfo.read_text().splitlines()
    flags = next((line.split() for line in lines if line.startswith("flags")), None)
    if flags is not None and VNNI.isdisjoint(flags):
        log.warning(
            "int8 without VNNI",
            harm="sums of products overflow, so that vectors lose accuracy, and it is slower than float32",
            setting="engine.precision",
        )
