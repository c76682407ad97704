"""The first level: rows in this process, bounded in bytes. For one event loop."""

from collections.abc import Iterable, Sequence

from cachetools import LRUCache

from embedsvc.cache.row import Key, Row
from embedsvc.metrics.cache import CacheMetrics

OVERHEAD_BYTES = 768
"""What Python takes for a row beside the numbers of its vector; measured."""


class Memory:
    """Keeps what was used last.

    Args:
        most_bytes: What it may hold.
        metrics: Where what it holds is shown.
    """

    def __init__(self, most_bytes: int, metrics: CacheMetrics) -> None:
        self._rows = _Rows(most_bytes, size_of)
        self._evicted = metrics.evicted.labels("memory")
        self._held = metrics.held_bytes.labels("memory")
        self._count = metrics.rows.labels("memory")

    def get_many(self, keys: Sequence[Key], now: float) -> list[Row | None]:
        """The rows of some keys; None for what is not there, or has expired by `now` (since the epoch)."""
        get = self._rows.get
        found = [get(key) for key in keys]
        return [row if row is None or row.expires_at > now else None for row in found]

    def put_many(self, rows: Iterable[tuple[Key, Row]]) -> None:
        """Keep rows; what was not used for longest makes room."""
        before = self._rows.evicted
        for key, row in rows:
            if size_of(row) <= self._rows.maxsize:
                self._rows[key] = row
        self._evicted.inc(self._rows.evicted - before)
        self._show()

    def clear(self) -> None:
        """Keep nothing of it."""
        self._rows = _Rows(self._rows.maxsize, size_of)  # at once, which its own clear() is not
        self._show()

    def _show(self) -> None:
        self._held.set(self._rows.currsize)
        self._count.set(len(self._rows))


class _Rows(LRUCache[Key, Row]):
    evicted = 0

    def popitem(self) -> tuple[Key, Row]:
        """Let the one go that was not used for longest."""
        self.evicted += 1
        return super().popitem()


def size_of(row: Row) -> int:
    """Bytes that a row takes in this process."""
    return OVERHEAD_BYTES + row.vector.nbytes
