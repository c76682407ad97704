"""Two cores for one batch: OpenMP's team of a thread and its helper, each kept at a core of its own.

Where both cores have slept, Linux may wake the helper at the core at which its master spins; each then waits
for the other a hundred times on the way through a model. docs/adr/0019 has figures.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident

import torch

PAIR = 2
"""The only size that is kept in place: larger teams lose and make helpers as operators want more or fewer."""

PARALLEL = 1 << 18
"""Elements that torch shares among a team."""


@dataclass(frozen=True, slots=True)
class Team:
    """A thread's team.

    Attributes:
        cores: Where its master and its helper are kept; empty where they are not.
        master: The thread (`threading.get_ident`).
    """

    cores: Sequence[int] = ()
    master: int = 0

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Keep the master at its core: only meanwhile, since threads inherit where their maker may be.

        Nothing happens in another thread, which has a team of its own.
        """
        if not self.cores or get_ident() != self.master:
            yield
            return
        allowed = os.sched_getaffinity(0)
        _move(self.cores[:1])
        try:
            yield
        finally:
            _move(allowed)


def assemble() -> Team:
    """Start the calling thread's helper at its core; to be called before the thread has used OpenMP."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if not len(allowed) == torch.get_num_threads() == PAIR or not _move(allowed[1:]):
        return Team()
    try:
        torch.zeros(PARALLEL)
    finally:
        _move(allowed)
    return Team(allowed, get_ident())


def _move(cores: Iterable[int]) -> bool:
    """Say where the calling thread may be; False where it may not: a container's cores may have changed."""
    try:
        os.sched_setaffinity(0, cores)
    except OSError:
        return False
    return True
