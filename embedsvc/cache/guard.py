"""Stands before the second level: what fails or takes too long is counted, told of once, and left alone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from embedsvc.breaker import Breaker, Call
from embedsvc.metrics.cache import CacheMetrics
from embedsvc.store.presence import Presence
from embedsvc.store.protocols import StoreAwayError, StoreError

T = TypeVar("T")


class Guard:
    """Stands before one operation. For one event loop.

    Args:
        operation: Which.
        metrics: Where it is counted.
        presence: Is told when it is left alone, and when it works.
        hushed: Whether that it is left alone goes without saying, since more is known to be amiss.
    """

    def __init__(
        self,
        operation: Literal["get", "set"],
        metrics: CacheMetrics,
        presence: Presence,
        hushed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._breaker = Breaker()
        self._failures = metrics.failures.labels(operation)
        self._presence = presence
        self._hushed = hushed

    @property
    def is_open(self) -> bool:
        """Whether the operation is left alone because it failed."""
        return self._breaker.state != "closed"

    @property
    def pause_left(self) -> float:
        """Seconds until it may be tried."""
        return self._breaker.pause_left

    async def run(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Do it, if it has not failed before.

        Args:
            call: Does it.
            seconds: How long it may take.

        Raises:
            StoreError: It was not done, for whatever reason.
        """
        admitted = self._breaker.allows()
        if not admitted:
            raise StoreAwayError("it failed before, and is left alone for a moment")
        try:
            async with asyncio.timeout(seconds):
                result = await call()
        except TimeoutError:
            raise self._failed(admitted, StoreAwayError(f"no answer within {seconds:g} seconds")) from None
        except StoreError as error:
            raise self._failed(admitted, error) from None
        except Exception as error:  # whatever it is, nobody's request fails of it
            raise self._failed(admitted, StoreAwayError(repr(error))) from error
        except BaseException:
            self._breaker.abandoned(admitted)
            raise
        self._breaker.succeeded(admitted)
        self._presence.answered()
        return result

    def _failed(self, admitted: Call, error: StoreError) -> StoreError:
        self._failures.inc()
        self._breaker.failed(admitted)
        if self.is_open and not self._hushed():  # once or twice may be chance
            self._presence.failed(error)
        return error
