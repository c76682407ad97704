"""The batching policy: which waiting texts go into the next batch. Pure and synchronous.

Interactive work goes before bulk work, which is sure of a small share; within each, callers take turns.
Batches are cut by the tokens that the encoder will really spend: in the order of the turns where it does
not pad, from a window sorted by length where it does.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Generic

from embedsvc.engine.limits import BatchLimits
from embedsvc.engine.turns import Entry, Round
from embedsvc.engine.window import LengthWindow

TURNS = 8
"""How many callers' turns fill a batch."""

BULK_SHARE = 8
"""Bulk work gets at least one token for so many of interactive work, however much of that waits."""


class FairQueue(Generic[Entry]):
    """Waiting entries of all callers.

    Args:
        limits: How large a batch may be.

    Attributes:
        limits: The same; may change at any time.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        turn = max(1, limits.tokens // TURNS)
        self._interactive: Round[Entry] = Round(turn, limits.charge)
        self._bulk: Round[Entry] = Round(turn, limits.charge)
        self._owed = 0  # to bulk work, in parts of BULK_SHARE of a token
        self._window: LengthWindow[Entry] = LengthWindow()
        self._again: deque[Sequence[Entry]] = deque()
        self._apart: deque[Sequence[Entry]] = deque()
        self._left = 0  # tokens that nobody waits for any more, at most

    @property
    def tokens(self) -> int:
        """Tokens that wait, those of dead entries counted until they are met."""
        again = sum(entry.length for group in (*self._again, *self._apart) for entry in group)
        return self._interactive.tokens + self._bulk.tokens + self._window.tokens + again

    def __bool__(self) -> bool:
        return self.tokens > 0

    def add(self, entries: Sequence[Entry]) -> None:
        """Queue the entries of one request, beside the others of the same caller."""
        if entries:
            (self._bulk if entries[0].bulk else self._interactive).add(entries)

    def put_back(self, groups: Iterable[Sequence[Entry]]) -> None:
        """Queue groups of entries that were taken once, each to be a batch again, before all others."""
        self._again.extend(group for group in groups if group)

    def put_apart(self, groups: Iterable[Sequence[Entry]]) -> None:
        """Queue groups of entries that were taken once, for `take_apart` alone."""
        self._apart.extend(group for group in groups if group)

    @property
    def waits_apart(self) -> bool:
        """Whether there is something for `take_apart`."""
        while self._apart and all(entry.dead for entry in self._apart[0]):
            self._apart.popleft()
        return bool(self._apart)

    def take_apart(self) -> list[Entry]:
        """Remove and return the next group that was put apart; there is one, see `waits_apart`."""
        return [entry for entry in self._apart.popleft() if not entry.dead]

    def leave(self, tokens: int) -> None:
        """Note that nobody waits for some entries any more: of what is kept, the dead are half at most."""
        self._left += tokens
        if 2 * self._left > self.tokens:
            self._left = 0
            for waiting in (self._interactive, self._bulk):
                waiting.sweep()
            self._window.drop_dead()

    def take(self, share: int | None = None) -> list[Entry]:
        """Remove and return the next batch; empty only where nothing alive waits that was not put apart.

        Args:
            share: Tokens that it is to have at most, unless one text has more; None: as the limits allow.
                What was put back goes as it is.
        """
        while self._again:
            if group := [entry for entry in self._again.popleft() if not entry.dead]:
                return group
        limits = self.limits if share is None else self.limits.within(share)
        return self._take_sorted(limits) if limits.padded else self._take_in_turn(limits)

    def drain(self) -> list[Entry]:
        """Remove and return everything."""
        again = list(chain.from_iterable((*self._again, *self._apart)))
        self._again.clear()
        self._apart.clear()
        return [*again, *self._window.drain(), *self._interactive.drain(), *self._bulk.drain()]

    def _take_in_turn(self, limits: BatchLimits) -> list[Entry]:
        batch: list[Entry] = []
        total = longest = 0
        while (turn := self._next()) is not None:
            entry = turn[0]
            total, longest = total + entry.length, max(longest, entry.length)
            if not limits.admits(len(batch) + 1, total, longest):
                break
            batch.append(self._pop(turn[1]))
        return batch

    def _take_sorted(self, limits: BatchLimits) -> list[Entry]:
        self._window.drop_dead()
        while not self._window.is_full(self.limits) and (turn := self._next()) is not None:
            self._window.add(self._pop(turn[1]))
        return self._window.take(limits) if self._window else []

    def _next(self) -> tuple[Entry, Round[Entry]] | None:
        """The entry whose turn it is, and where it waits."""
        interactive, bulk = self._interactive.next, self._bulk.next
        if bulk is not None and (
            interactive is None or self._owed >= BULK_SHARE * self.limits.charge(bulk.length)
        ):
            return bulk, self._bulk
        return None if interactive is None else (interactive, self._interactive)

    def _pop(self, waiting: Round[Entry]) -> Entry:
        entry = waiting.pop()
        cost = self.limits.charge(entry.length)
        if waiting is self._bulk:
            self._owed = max(0, self._owed - BULK_SHARE * cost)
        else:
            # Nothing is saved up while no bulk work waits.
            self._owed = self._owed + cost if self._bulk.tokens else 0
        return entry
