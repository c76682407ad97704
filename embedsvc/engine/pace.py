"""How fast batches go: what deadlines are held against, and what a batch that hangs is told by."""

from collections import deque

MEMORY = 16
"""Batches that are remembered."""


class Pace:
    """Seconds a token of the last batches."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=MEMORY)

    def __len__(self) -> int:
        return len(self._seconds)

    def record(self, tokens: int, seconds: float) -> None:
        """Remember a batch."""
        self._seconds.append(seconds / max(1, tokens))

    def at_best(self, tokens: int) -> float:
        """Seconds that so many tokens take if all goes as well as it lately has, or 0."""
        return tokens * min(self._seconds, default=0.0)

    def at_worst(self, tokens: int) -> float:
        """Seconds that so many tokens take if all goes as badly as it lately has, or 0."""
        return tokens * max(self._seconds, default=0.0)

    def doubt(self) -> None:
        """Forget a batch: after enough work that was refused for being too slow, some is tried."""
        if self._seconds:
            self._seconds.popleft()
