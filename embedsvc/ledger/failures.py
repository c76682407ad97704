"""Failed authentications, counted in groups, so that whoever guesses keys cannot make the store write."""

import time
from collections import Counter

from embedsvc.store.records import FailureRow

MOST_GROUPS = 100
"""Groups between two looks; what does not fit is counted by its reason alone."""

MOST_PREFIXES = 5
"""Keys of one reason and address that are told apart; the others are counted without theirs."""

SECONDS = 60.0
"""Between two looks."""

Group = tuple[str, str, str]


class Tally:
    """Counts failures by key prefix, reason and address."""

    def __init__(self) -> None:
        self._groups: dict[Group, FailureRow] = {}
        self._prefixes: Counter[tuple[str, str]] = Counter()

    def add(self, prefix: str, reason: str, address: str) -> None:
        """Count one failure."""
        group = self._group(prefix, reason, address)
        now = time.time()
        row = self._groups.get(group)
        count, first = (0, now) if row is None else (row.count, row.first_at)
        self._groups[group] = FailureRow(*group, count=count + 1, first_at=first, last_at=now)

    def _group(self, prefix: str, reason: str, address: str) -> Group:
        group = (prefix, reason, address)
        if group in self._groups:
            return group
        if self._prefixes[reason, address] >= MOST_PREFIXES:
            group = ("", reason, address)
        if group not in self._groups and len(self._groups) >= MOST_GROUPS:
            return ("", reason, "")
        self._prefixes[reason, address] += 1
        return group

    def take(self) -> list[FailureRow]:
        """What was counted since this was last asked."""
        rows = list(self._groups.values())
        self._groups.clear()
        self._prefixes.clear()
        return rows
