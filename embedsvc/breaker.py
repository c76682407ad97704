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


class Call:
    """A call that was let through; who makes it tells how it went, once."""

    __slots__ = ()


class Breaker:
    """Counts failures in a row. For one event loop.

    The one call that tries decides, however others end that are under way from before it opened.

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
        self._trial: Call | None = None

    @property
    def state(self) -> State:
        """Closed: calls go through. Half open: one may try, or tries. Open: none goes through."""
        if self._failures < self._most:
            return "closed"
        return "half_open" if self._trial or time.monotonic() >= self._closed_at else "open"

    @property
    def pause_left(self) -> float:
        """Seconds until one call may try; 0 where calls go through, or one may try now."""
        return max(0.0, self._closed_at - time.monotonic()) if self.state == "open" else 0.0

    def allows(self) -> Call | None:
        """A call to make now; None: it must not be made."""
        if self._failures >= self._most and (self._trial or time.monotonic() < self._closed_at):
            return None
        return self.insists()

    def insists(self) -> Call:
        """A call to make whether it would be let through or not, where no other tries."""
        call = Call()
        if self._failures >= self._most:
            self._trial = call
        return call

    def succeeded(self, call: Call) -> None:
        """A call went well: it closes, unless another tries, and is to say."""
        if self._trial in (None, call):
            self._failures, self._trial = 0, None

    def failed(self, call: Call) -> None:
        """A call did not go well."""
        if self._failures >= self._most and call is not self._trial:
            return  # it was under way when another opened it: that is the same outage
        self._failures, self._trial = self._failures + 1, None
        pause = min(self._longest_pause, self._first_pause * 2 ** max(0, self._failures - self._most))
        self._closed_at = time.monotonic() + pause * random.uniform(0.75, 1.25)  # noqa: S311 - so that servers differ

    def abandoned(self, call: Call) -> None:
        """Nobody waited for how a call went."""
        if call is self._trial:
            self._trial = None
