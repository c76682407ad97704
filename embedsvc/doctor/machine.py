"""The machine, or the container: memory, shared memory, open files."""

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from embedsvc.config import Settings
from embedsvc.doctor import models
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.errors import ConfigurationError

SUBJECT = Subject("machine")
MEBIBYTE, GIBIBYTE = 2**20, 2**30

PROCESS_BYTES = 450 * MEBIBYTE
"""What a process with torch in it has beside the weights."""

SCARCE = 0.1
"""The part of memory under which trouble is near."""

SHARED_BYTES = 64 * MEBIBYTE
"""What Docker gives by itself."""

FILES = 4096
"""A connection is one."""

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
SHARED = Path("/dev/shm")  # noqa: S108 - looked at, not written


def look(settings: Settings) -> Iterator[Finding]:
    """Look at what every process needs."""
    yield from _memory(settings)
    yield from _killed()
    yield from _shared()
    yield _open_files()


def _memory(settings: Settings) -> Iterator[Finding]:
    if not MEMINFO.exists():
        return
    known = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
    total, available = (int(known[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    limit, used = (_cgroup(name) for name in ("memory.max", "memory.current"))
    if limit is not None and limit < total:
        total, available = limit, min(available, limit - (used or 0))
    needed = _needed(settings)
    what = f"{available / GIBIBYTE:.1f} of {total / GIBIBYTE:.1f} GiB of memory are free"
    if total < needed:
        advice = (
            "Serve fewer models or on fewer devices, or give it more: in Compose, deploy.resources.limits"
        )
        yield SUBJECT.error(f"{what}, and the models need at least {needed / GIBIBYTE:.1f} in all", advice)
    elif available < SCARCE * total:
        yield SUBJECT.warning(
            what, "`ps aux --sort -rss | head` says who has it; models that grow are lost soon"
        )
    else:
        yield SUBJECT.ok(f"{what}; the models need at least {needed / GIBIBYTE:.1f} in all")


def _needed(settings: Settings) -> int:
    """Bytes that replicas have, at least: each device has its own of every model, in a process of its own."""
    replicas = len(settings.engine.devices)
    return PROCESS_BYTES * settings.server.processes + sum(
        replicas * (PROCESS_BYTES + _weights(name, settings)) for name in settings.models.served
    )


def _weights(name: str, settings: Settings) -> int:
    try:
        folder = models.locate(name, settings)
    except (ConfigurationError, OSError, ValueError):  # which is told of the model
        return 0
    return sum(path.stat().st_size for path in models.weights(folder)) if folder else 0


def _killed() -> Iterator[Finding]:
    """What the kernel has killed in this container; a machine's own count has no such file."""
    events = CGROUP / "memory.events"
    counts = dict(line.split() for line in events.read_text().splitlines()) if events.exists() else {}
    if kills := int(counts.get("oom_kill", 0)):
        advice = "Raise its limit of memory, or serve fewer models; replicas that are killed start again"
        yield SUBJECT.warning(f"the kernel has killed {kills} processes here, for want of memory", advice)


def _cgroup(name: str) -> int | None:
    path = CGROUP / name
    text = path.read_text().strip() if path.exists() else "max"
    return None if text == "max" else int(text)


def _shared() -> Iterator[Finding]:
    if not SHARED.exists():
        return
    usage = shutil.disk_usage(SHARED)
    what = (
        f"shared memory: {usage.free / MEBIBYTE:,.0f} of {usage.total / MEBIBYTE:,.0f} MiB free in {SHARED}"
    )
    if usage.free < SHARED_BYTES or not os.access(SHARED, os.W_OK):
        yield SUBJECT.warning(what, "Libraries of torch's may fail without it: in Compose, shm_size: 256m")
    else:
        yield SUBJECT.ok(what)


def _open_files() -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    what = f"{limit:,} open files at most, of a process that is started from here"
    if limit != resource.RLIM_INFINITY and limit < FILES:
        advice = "Each connection takes one: `ulimit -n 65536`; LimitNOFILE= of systemd; ulimits of Compose"
        return SUBJECT.note(f"{what}: enough for {limit // 2:,} callers", advice)
    return SUBJECT.ok(what)
