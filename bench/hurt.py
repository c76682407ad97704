"""What is done to a replica under load."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil
from service import Service

EXHAUSTED, FAILING = "memory runs out", "every batch fails"
LASTING = (EXHAUSTED, FAILING)
"""Faults with a duration, in which calls may fail."""


def replica_of(service: Service) -> psutil.Process:
    """The replica's process, as it is now."""
    children = psutil.Process(service.server.process.pid).children(recursive=True)
    return next(child for child in children if "embedsvc.engine.worker" in child.cmdline())


@contextmanager
def failing(file: Path) -> Iterator[None]:
    """Tell `faulty.FaultyEncoder` to fail."""
    file.touch()
    try:
        yield
    finally:
        file.unlink()


@contextmanager
def _exhausted(service: Service) -> Iterator[None]:
    """Let the replica have no more memory than it has."""
    replica = replica_of(service)
    before = replica.rlimit(psutil.RLIMIT_AS)
    replica.rlimit(psutil.RLIMIT_AS, (replica.memory_info().rss, before[1]))
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):  # it has died of it, and has a successor
            replica.rlimit(psutil.RLIMIT_AS, before)


def _signalled(number: signal.Signals) -> Callable[[Service], AbstractContextManager[None]]:
    @contextmanager
    def hurt(service: Service) -> Iterator[None]:
        replica_of(service).send_signal(number)
        yield

    return hurt


FAULTS: Mapping[str, Callable[[Service], AbstractContextManager[None]]] = {
    "killed": _signalled(signal.SIGKILL),
    "hangs": _signalled(signal.SIGSTOP),
    EXHAUSTED: _exhausted,
}
