"""Tells a batch that hangs from one that takes long."""

import asyncio
from collections.abc import Callable

from embedsvc.engine.pace import Pace

HANGS = 10
"""A batch hangs that takes so many times longer than the slowest of late would have, and `patience` more."""

DOUBT_SECONDS = 0.1
"""What the event loop gets to hand out an answer that is there already, after it stood still itself."""


class Watchdog:
    """Watches the oldest of some batches, one after the other.

    Args:
        patience: See `HANGS`; seconds. None: it watches nothing.
        pace: How fast batches have been.
        bite: Called with what is wrong.
    """

    def __init__(self, patience: float | None, pace: Pace, bite: Callable[[str], None]) -> None:
        self._patience = patience
        self._pace = pace
        self._bite = bite
        self._oldest: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, oldest: int | None, tokens: int) -> None:
        """Give a batch its time, unless it is the one that is watched already.

        Args:
            oldest: Its number; None: there is none.
            tokens: What it has.
        """
        if self._patience is None or oldest == self._oldest:
            return
        self.stop()
        self._oldest = oldest
        if oldest is not None:
            allowed = self._patience + HANGS * self._pace.at_worst(tokens)
            self._timer = asyncio.get_running_loop().call_later(allowed, self._doubt, allowed)

    def stop(self) -> None:
        """Watch nothing."""
        self._oldest = None
        if self._timer is not None:
            self._timer.cancel()

    def _doubt(self, allowed: float) -> None:
        fault = f"a batch took longer than {allowed:.1f} s"
        self._timer = asyncio.get_running_loop().call_later(DOUBT_SECONDS, self._bite, fault)
