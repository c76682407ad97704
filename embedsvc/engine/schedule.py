"""Which batch goes to which replica, and when: the queue, the pace and the loads. Pure and synchronous.

A batch is formed when a replica has a free lane, never by waiting for company: an idle lane starts at once,
busy ones let the next batch grow. Only a batch that can grow no further is made ahead. Lanes that are free at
the same time share what waits. What may have ended a replica's process has the next one to itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from embedsvc.engine.limits import BatchLimits
from embedsvc.engine.pace import Pace
from embedsvc.engine.queue import FairQueue
from embedsvc.engine.turns import Entry
from embedsvc.engine.wire import Room

AHEAD = 1
"""Batches that are made ready for a busy replica."""

LEAST_SHARE = 64
"""Tokens that are not worth sharing among lanes: a batch of fewer takes as long as reading the weights."""

RECOVERY = 64
"""After the replica's memory ran out, every batch that succeeds gives back one part in so many."""

Replica = TypeVar("Replica")


@dataclass(frozen=True, slots=True)
class Assignment(Generic[Entry, Replica]):
    """A batch for a replica."""

    replica: Replica
    batch: Sequence[Entry]
    tokens: int
    room: Room = Room.LANE


@dataclass(slots=True)
class _Load:
    """What a replica has to do.

    Attributes:
        depth: Batches that it can work on at once.
        lanes: How many it computes side by side.
        worth_all: Tokens from which on a batch without company is to have all lanes.
        batches: Those that it has.
        taken: Lanes of these.
        tokens: Of these.
        exclusive: Whether its one batch is to be its only one.
    """

    depth: int
    lanes: int
    worth_all: int
    batches: int = 0
    taken: int = 0
    tokens: int = 0
    exclusive: bool = False

    def lanes_of(self, room: Room) -> int:
        """How many lanes a batch takes."""
        return 1 if room is Room.LANE else self.lanes


class Scheduler(Generic[Entry, Replica]):
    """Waiting entries on one side, replicas on the other.

    Args:
        limits: How large a batch may be.

    Attributes:
        queue: What waits.
        pace: How fast batches have been.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self.queue: FairQueue[Entry] = FairQueue(limits)
        self.pace = Pace()
        self._limits = limits
        self._loads: dict[Replica, _Load] = {}

    def join(self, replica: Replica, depth: int, lanes: int = 1, worth_all: int = 1) -> None:
        """Let a replica take part.

        Args:
            replica: Who.
            depth: Batches that it can work on at once.
            lanes: How many of them it computes side by side.
            worth_all: Tokens from which on a batch without company is to have all lanes.
        """
        self._loads[replica] = _Load(depth, lanes, worth_all)

    def leave(self, replica: Replica) -> None:
        """Give a replica nothing more."""
        self._loads.pop(replica, None)

    def next(self, now: float, refuse: Callable[[Entry], None]) -> Assignment[Entry, Replica] | None:
        """Decide what runs now; to be called until nothing does.

        Args:
            now: The time, on the clock of the deadlines.
            refuse: Called with entries that cannot make their deadline; whatever is dead then is left out.
        """
        while (taken := self._take()) is not None:
            replica, entries, exclusive = taken
            batch = self._sort_out(entries, now, refuse)
            if batch:
                tokens = sum(entry.length for entry in batch)
                room = Room.EXCLUSIVE if exclusive else self._room(self._loads[replica], tokens)
                self._note(self._loads[replica], tokens, room)
                return Assignment(replica, batch, tokens, room)
        return None

    def finish(self, done: Assignment[Entry, Replica], seconds: float | None) -> None:
        """Note that a batch has ended; `seconds` is what it took if it succeeded."""
        load = self._loads.get(done.replica)
        if load is not None:
            load.batches -= 1
            load.taken -= load.lanes_of(done.room)
            load.tokens -= done.tokens
            load.exclusive = False
        if seconds is not None:
            self.pace.record(done.tokens, seconds)
            self._resize(self.queue.limits.tokens + max(1, self._limits.tokens // RECOVERY))

    def split(self, failed: Assignment[Entry, Replica], parts: int = 2) -> None:
        """Put a batch back in parts; what was apart stays apart."""
        put = self.queue.put_apart if failed.room is Room.EXCLUSIVE else self.queue.put_back
        put(_cut(failed.batch, parts))

    def set_apart(self, failed: Assignment[Entry, Replica], parts: int = 1) -> None:
        """Put a batch back in parts each of which has a replica to itself."""
        self.queue.put_apart(_cut(failed.batch, parts))

    def shrink(self, failed: Assignment[Entry, Replica]) -> None:
        """Put a batch back in halves, and make smaller ones from now on: memory ran out."""
        self.split(failed)
        self._resize(min(self.queue.limits.tokens, failed.tokens // 2))

    def _resize(self, tokens: int) -> None:
        wanted = max(1, min(self._limits.tokens, tokens))
        if wanted != self.queue.limits.tokens:
            self.queue.limits = replace(self._limits, tokens=wanted)

    def _take(self) -> tuple[Replica, list[Entry], bool] | None:
        """What is next, who is to have it, and whether as its only batch."""
        reserved = self._reserve()
        if reserved is not None and not self._loads[reserved].batches:
            return reserved, self.queue.take_apart(), True
        replica = self._free(reserved)
        if replica is None:
            return None
        entries = self.queue.take(self._share(self._loads[replica]))
        return (replica, entries, False) if entries else None

    def _reserve(self) -> Replica | None:
        """The one replica that is given nothing new, for what was put apart; None where nothing was."""
        if not self.queue.waits_apart or any(load.exclusive for load in self._loads.values()):
            return None
        return min(self._loads, key=lambda replica: self._loads[replica].batches, default=None)

    def _free(self, reserved: Replica | None) -> Replica | None:
        """Of the replicas with room, the one with the fewest tokens under way."""
        full = self.queue.tokens >= self.queue.limits.tokens
        room = [
            (load.tokens, at, replica)
            for at, (replica, load) in enumerate(self._loads.items())
            if not load.exclusive
            and replica != reserved
            and (load.batches < load.depth + AHEAD if full else load.taken < load.lanes)
        ]
        return min(room)[2] if room else None

    def _share(self, load: _Load) -> int | None:
        """Tokens of what waits for one of several free lanes; None where there are not several."""
        free = load.lanes - load.taken
        return max(LEAST_SHARE, -(-self.queue.tokens // free)) if free > 1 else None

    def _sort_out(self, taken: Sequence[Entry], now: float, refuse: Callable[[Entry], None]) -> list[Entry]:
        """Leave out what can't make its deadline: a text waits for all before it in the batch."""
        batch: list[Entry] = []
        tokens, doubtful = 0, False
        for entry in taken:
            if entry.dead:  # since another of its request was refused
                continue
            after = tokens + entry.length
            if entry.deadline is not None and now + self.pace.at_best(after) >= entry.deadline:
                doubtful = True
                refuse(entry)
            else:
                tokens = after
                batch.append(entry)
        if doubtful:
            self.pace.doubt()
        return [entry for entry in batch if not entry.dead]

    def _room(self, load: _Load, tokens: int) -> Room:
        """What of a replica a batch is to have that need not be its only one; others may be on its cores."""
        company = self.queue or any(other.taken for other in self._loads.values())
        return Room.LANE if company or tokens < load.worth_all else Room.ALL

    def _note(self, load: _Load, tokens: int, room: Room) -> None:
        load.batches += 1
        load.taken += load.lanes_of(room)
        load.tokens += tokens
        load.exclusive = room is Room.EXCLUSIVE


def _cut(batch: Sequence[Entry], parts: int) -> list[Sequence[Entry]]:
    size = -(-len(batch) // parts)
    return [batch[at : at + size] for at in range(0, len(batch), size)]
