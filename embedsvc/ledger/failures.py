"""Failed authentications, counted in groups, so that whoever guesses keys cannot make the store write."""

import time

from embedsvc.store.records import FailureRow

MOST_GROUPS = 200
"""Groups between two looks; what does not fit is counted by its reason alone."""

SECONDS = 30.0
"""Between two looks."""

Group = tuple[str, str, str]


class Tally:
    """Counts failures by key prefix, reason and address."""

    def __init__(self) -> None:
        self._groups: dict[Group, FailureRow] = {}

    def add(self, prefix: str, reason: str, address: str) -> None:
        """Count one failure."""
        group = (prefix, reason, address)
        if group not in self._groups and len(self._groups) >= MOST_GROUPS:
            group = ("", reason, "")
        now = time.time()
        row = self._groups.get(group)
        count, first = (0, now) if row is None else (row.count, row.first_at)
        self._groups[group] = FailureRow(*group, count=count + 1, first_at=first, last_at=now)

    def take(self) -> list[FailureRow]:
        """What was counted since this was last asked."""
        rows = list(self._groups.values())
        self._groups.clear()
        return rows
