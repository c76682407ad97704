"""The circuit of a provider: leaves it alone when calls fail, and shows whether it does."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import Gauge

from embedsvc.breaker import Breaker, Call, State
from embedsvc.errors import ProviderDownError
from embedsvc.providers.outcome import CallError

log = structlog.get_logger()

LEVELS: dict[State, int] = {"closed": 0, "half_open": 1, "open": 2}

LONGEST_PAUSE = 60.0
"""Seconds that a provider is left alone, at most."""

PATIENCE = 10.0
"""Seconds without an answer after which a call whose caller has left is a failure of the provider's. Else one
that hangs would never be left alone, where callers' deadlines are shorter than its time-out."""


class Circuit:
    """Lets calls through, or not.

    Args:
        name: The provider's.
        breaker: Counts its failures.
        gauge: Shows the state.
        patience: Seconds that it may take to answer before it counts that a caller has left.
    """

    def __init__(self, name: str, breaker: Breaker, gauge: Gauge, patience: float = PATIENCE) -> None:
        self._name = name
        self._breaker = breaker
        self._gauge = gauge
        self._patience = patience
        self._shown: State | None = None

    @property
    def state(self) -> State:
        """See `Breaker.state`."""
        return self._breaker.state

    def check(self) -> None:
        """Raise ProviderDownError where no call would be let through: before one waits for its turn."""
        if self.state == "open":
            raise self._down()

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Call the provider within the context; how the call ends is counted.

        Raises:
            ProviderDownError: It is left alone, and must not be called.
        """
        call = self._breaker.allows()
        if not call:
            raise self._down()
        began = time.monotonic()
        try:
            yield
        except CallError as error:
            self._end(call, well=error.outcome == "rejected")
            raise
        except BaseException:
            late = time.monotonic() - began >= self._patience
            self._end(call, well=False if late else None)
            raise
        else:
            self._end(call, well=True)
        finally:
            self.show()

    def show(self) -> None:
        """Show the state, which changes by itself when a pause is over; say so where it has changed."""
        state, before = self.state, self._shown
        if state == before:
            return
        self._shown = state
        self._gauge.set(LEVELS[state])
        if state == "open":
            log.warning(
                "provider is left alone", provider=self._name, seconds=round(self._breaker.pause_left, 1)
            )
        elif state == "closed" and before:
            log.info("provider answers again", provider=self._name)

    def _end(self, call: Call, *, well: bool | None) -> None:
        """Count how a call ended; None: nobody waited for that."""
        if well is None:
            self._breaker.abandoned(call)
        elif well:
            self._breaker.succeeded(call)
        else:
            self._breaker.failed(call)

    def _down(self) -> ProviderDownError:
        return ProviderDownError(
            f"the provider {self._name} is down; try again later",
            retry_after=max(1.0, self._breaker.pause_left),
        )
