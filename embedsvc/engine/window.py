"""Texts of like length together, for encoders that pad: a bounded window, kept sorted."""

from bisect import insort
from typing import Generic

from embedsvc.engine.limits import BatchLimits
from embedsvc.engine.turns import Entry

WINDOW_BATCHES = 2
"""The window holds about this many batches: enough to find texts of like length, few enough to stay fair."""


class LengthWindow(Generic[Entry]):
    """Entries whose turn has come, waiting for neighbours.

    A batch holds the entry that has been here for longest, and its neighbours in length.

    Attributes:
        tokens: Tokens inside.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._items: list[tuple[int, int, Entry]] = []  # (length, arrival, entry), sorted
        self._arrivals = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    def is_full(self, limits: BatchLimits) -> bool:
        """Whether there is no room."""
        return (
            self.tokens >= WINDOW_BATCHES * limits.tokens or len(self._items) >= WINDOW_BATCHES * limits.texts
        )

    def add(self, entry: Entry) -> None:
        """Put an entry in its place."""
        self._arrivals += 1
        insort(self._items, (entry.length, self._arrivals, entry))
        self.tokens += entry.length

    def drop_dead(self) -> None:
        """Forget entries that nobody waits for."""
        if any(entry.dead for _, _, entry in self._items):
            self._items = [item for item in self._items if not item[2].dead]
            self.tokens = sum(length for length, _, _ in self._items)

    def take(self, limits: BatchLimits) -> list[Entry]:
        """Remove and return the next batch."""
        oldest = min(range(len(self._items)), key=lambda at: self._items[at][1])
        low, high = self._cut(oldest, limits)
        batch = [entry for _, _, entry in self._items[low:high]]
        del self._items[low:high]
        self.tokens -= sum(entry.length for entry in batch)
        return batch

    def drain(self) -> list[Entry]:
        """Remove and return everything."""
        entries = [entry for _, _, entry in self._items]
        self._items.clear()
        self.tokens = 0
        return entries

    def _cut(self, oldest: int, limits: BatchLimits) -> tuple[int, int]:
        """Widen [oldest, oldest + 1) over the nearest lengths while it is a batch."""
        items, low, high = self._items, oldest, oldest + 1
        total = items[oldest][0]
        while True:
            shorter = items[low][0] - items[low - 1][0] if low > 0 else None
            longer = items[high][0] - items[high - 1][0] if high < len(items) else None
            if longer is not None and (shorter is None or longer <= shorter):
                total += items[high][0]
                if not limits.admits(high + 1 - low, total, items[high][0]):
                    return low, high
                high += 1
            elif shorter is not None:
                total += items[low - 1][0]
                if not limits.admits(high - low + 1, total, items[high - 1][0]):
                    return low, high
                low -= 1
            else:
                return low, high
