"""What is done to a replica under load."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from service import Service

SIGNALS = {"killed": signal.SIGKILL, "hangs": signal.SIGSTOP}


def replica_of(service: Service) -> psutil.Process:
    """The replica's process, as it is now."""
    children = psutil.Process(service.server.process.pid).children(recursive=True)
    return next(child for child in children if "embedsvc.engine.worker" in child.cmdline())


@contextmanager
def signalled(service: Service, name: str) -> Iterator[None]:
    """Send the replica's process a signal."""
    replica_of(service).send_signal(SIGNALS[name])
    yield


@contextmanager
def told(file: Path, fault: str) -> Iterator[None]:
    """Tell `faulty.FaultyEncoder` how to fail, as long as the context is open."""
    fresh = file.with_suffix(".new")
    fresh.write_text(fault)
    fresh.replace(file)
    try:
        yield
    finally:
        file.unlink()
