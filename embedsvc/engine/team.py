"""Two cores for one batch: OpenMP's team of a thread and its helper, each kept at a core of its own.

Where both cores have slept, Linux may wake the helper at the core at which its master spins; each then waits
for the other a hundred times on the way through a model. docs/adr/0019 has figures.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch

PAIR = 2
"""The only size that is kept in place: larger teams lose and make helpers as operators want more or fewer."""

PARALLEL = 1 << 18
"""Elements that torch shares among a team."""


@dataclass(frozen=True, slots=True)
class Team:
    """The calling thread's team.

    Attributes:
        cores: Where its master and its helper are kept; empty where they are not.
    """

    cores: Sequence[int] = ()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Keep the master at its core: only meanwhile, since threads inherit where their maker may be."""
        if not self.cores:
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
    if not len(allowed) == torch.get_num_threads() == PAIR:
        return Team()
    _move(allowed[1:])
    torch.zeros(PARALLEL)
    _move(allowed)
    return Team(allowed)


def _move(cores: Sequence[int] | set[int]) -> None:
    """Say where the calling thread may be; a container's cores may have changed, and any is good then."""
    with suppress(OSError):
        os.sched_setaffinity(0, cores)
