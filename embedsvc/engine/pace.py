"""How fast batches go: what deadlines are held against, and what a batch that hangs is told by."""

import math
from collections import deque

MEMORY = 16
"""Batches that are remembered."""


class Pace:
    """What the last batches took."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, float]] = deque(maxlen=MEMORY)
        self._best = math.inf  # seconds a token, ever
        self._lately = 0.0  # the best of those remembered

    def __len__(self) -> int:
        return len(self._batches)

    def record(self, tokens: int, seconds: float) -> None:
        """Remember a batch."""
        self._batches.append((tokens, seconds))
        self._best = min(self._best, seconds / max(1, tokens))
        self._look_back()

    def at_best(self, tokens: int) -> float:
        """Seconds that so many tokens take if all goes as well as it lately has, or 0."""
        return tokens * self._lately

    def at_worst(self, tokens: int) -> float:
        """Seconds that so many tokens take if all goes as badly as it lately has, or 0.

        That is the longest of the last batches, and the tokens at the best rate ever: what a batch costs
        beside its tokens, which rules short ones, is not multiplied by the tokens of a long one.
        """
        if not self._batches:
            return 0.0
        return max(seconds for _, seconds in self._batches) + tokens * self._best

    def doubt(self) -> None:
        """Forget a batch: after enough work that was refused for being too slow, some is tried."""
        if self._batches:
            self._batches.popleft()
            self._look_back()

    def _look_back(self) -> None:
        """Once a batch, and not for every text that is held against it."""
        self._lately = min((seconds / max(1, tokens) for tokens, seconds in self._batches), default=0.0)
