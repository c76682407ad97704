"""A circuit breaker: what has failed again and again is left alone for a while.

Michael Nygard, "Release It!": closed, it lets calls through; after some failures in a row it is open and
lets none through; after a pause it lets one through, and that one decides.
"""

import random
import time
from typing import Literal, TypeAlias

FAILURES = 3
"""Failures in a row that open it."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 2.0
"""Seconds; every further failure doubles the pause. A server that stops has time to write what is left."""

State: TypeAlias = Literal["closed", "half_open", "open"]


class Breaker:
    """Counts failures in a row. For one event loop.

    Args:
        failures: How many open it.
        first_pause: Seconds that it stays open at first, give or take a quarter.
        longest_pause: Seconds that it stays open at most, give or take a quarter.
    """

    def __init__(
        self,
        failures: int = FAILURES,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        self._most = failures
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._failures = 0
        self._closed_at = 0.0
        self._probing = False

    @property
    def state(self) -> State:
        """Closed: calls go through. Half open: one may try, or tries. Open: none goes through."""
        if self._failures < self._most:
            return "closed"
        return "half_open" if self._probing or time.monotonic() >= self._closed_at else "open"

    @property
    def pause_left(self) -> float:
        """Seconds until one call may try; 0 where calls go through, or one may try now."""
        return max(0.0, self._closed_at - time.monotonic()) if self.state == "open" else 0.0

    def allows(self) -> bool:
        """Whether to call now; who is told so must tell how it went."""
        if self._failures < self._most:
            return True
        if self._probing or time.monotonic() < self._closed_at:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The call went well."""
        self._failures, self._probing = 0, False

    def failed(self) -> None:
        """The call did not go well."""
        if self._failures >= self._most and not self._probing:
            return  # it was under way when another opened it: that is the same outage
        self._failures, self._probing = self._failures + 1, False
        pause = min(self._longest_pause, self._first_pause * 2 ** max(0, self._failures - self._most))
        self._closed_at = time.monotonic() + pause * random.uniform(0.75, 1.25)  # noqa: S311 - so that servers differ

    def abandoned(self) -> None:
        """Nobody waited for how the call went."""
        self._probing = False
