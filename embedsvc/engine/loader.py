"""The weights of one model: loaded when they are wanted, once for all who wait, and unloaded again."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from contextvars import Context
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import structlog

from embedsvc.breaker import Breaker, Call
from embedsvc.engine.batcher import Batcher
from embedsvc.engine.budget import Budget
from embedsvc.engine.occupancy import Occupancy
from embedsvc.errors import (
    ConfigurationError,
    DeadlineExceededError,
    EmbedsvcError,
    OverloadedError,
    ProviderDownError,
)
from embedsvc.metrics.loading import LoadingMetrics

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a load that failed is tried again: twice as long each time."""

T = TypeVar("T")

MOST_WAITING = 1024
"""Requests that may wait for one load; a request is `limits.max_request_bytes` at most."""


class State(StrEnum):
    """Where a model is in its life."""

    IDLE = "idle"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Weights:
    """What is to be loaded.

    Attributes:
        name: The model.
        size: Bytes, over all replicas.
        open: Loads and warms up; leaving computes what waits, then unloads.
    """

    name: str
    size: int
    open: Callable[[], AbstractAsyncContextManager[Batcher]]


class _Use:
    """A context of those who need weights: they hold them, too. No generator, since each request is in one.

    Attributes:
        count: How many need them.
    """

    def __init__(self, loader: "Loader", held: Occupancy) -> None:
        self.count = 0
        self._loader = loader
        self._held = held

    def __enter__(self) -> None:
        self._held.__enter__()
        self.count += 1

    def __exit__(self, *_exception: object) -> None:
        self._loader.used_at = time.monotonic()
        self.count -= 1
        self._held.__exit__()


class Loader:
    """Loads and unloads.

    Args:
        weights: What.
        budget: Where there is room for it.
        metrics: Where loads are counted.
        told: Called after they were loaded, and before they are unloaded for others.

    Attributes:
        batcher: The way to the replicas; None while they are not loaded.
        pinned: Whether they are never unloaded for others.
        used_at: When somebody last needed them, in seconds of time.monotonic.
    """

    def __init__(
        self, weights: Weights, budget: Budget, metrics: LoadingMetrics, told: Callable[[], None]
    ) -> None:
        self.batcher: Batcher | None = None
        self.pinned = False
        self.used_at = time.monotonic()
        self._weights = weights
        self._budget = budget
        self._metrics = metrics
        self._told = told
        self._stack = AsyncExitStack()
        self._held = Occupancy()
        self._use = _Use(self, self._held)
        self._waiting = 0
        self._breaker = Breaker(1, FIRST_PAUSE, LONGEST_PAUSE)
        self._loading: asyncio.Task[Batcher] | None = None
        self._unloading: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """See `budget.Tenant`."""
        return self._weights.name

    @property
    def size(self) -> int:
        """See `budget.Tenant`."""
        return self._weights.size

    @property
    def evictable(self) -> bool:
        """See `budget.Tenant`."""
        return bool(self.batcher) and not (self.pinned or self._use.count or self._ending)

    @property
    def state(self) -> State:
        """Where it is in its life."""
        if self.batcher:
            return State.READY if self.batcher.pool.replicas and not self._closed else State.FAILED
        if self._loading:
            return State.LOADING
        return State.IDLE if self._breaker.state == "closed" else State.FAILED

    def held(self) -> AbstractContextManager[None]:
        """While the context is open the weights can be had, though the model may be replaced meanwhile.

        Raises:
            OverloadedError: They are unloaded for good.
        """
        if self._ending:
            raise OverloadedError("the server is shutting down")
        return self._held

    def wanted(self) -> AbstractContextManager[None]:
        """While the context is open the weights are not unloaded, if they are loaded.

        Raises:
            OverloadedError: They are unloaded for good.
        """
        if self._closed:
            raise OverloadedError("the server is shutting down")
        return self._use

    async def need(self, deadline: float | None) -> Batcher:
        """Have them loaded for a request; to be called in `wanted`. Leaving does not stop the load.

        Raises:
            DeadlineExceededError: The deadline passed first.
            ProviderDownError: They cannot be loaded now.
            OverloadedError: There is no room for them, or too many wait for them already.
        """
        if self._waiting >= MOST_WAITING:
            raise OverloadedError(f"too many wait for the model {self.name} to be loaded; try again later")
        if self._loading is None:
            call = self._breaker.allows()
            if not call:
                raise self._down()
            self._begin(call).add_done_callback(self._complain)
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline) as time_limit:
                return await self.load()
        except EmbedsvcError:
            raise
        except Exception:  # noqa: BLE001 - `_complain` tells it
            if time_limit.expired():
                raise DeadlineExceededError("the deadline passed while the model was loaded") from None
            raise self._down() from None
        finally:
            self._waiting -= 1

    async def load(self) -> Batcher:
        """Load them, or wait for the load that is under way. Leaving does not stop it.

        Raises:
            Exception: They cannot be loaded.
        """
        if self.batcher:
            return self.batcher
        return await asyncio.shield(self._loading or self._begin(self._breaker.insists()))

    async def evict(self) -> None:
        """See `budget.Tenant`."""
        stack, self._stack, self.batcher = self._stack, AsyncExitStack(), None
        self._told()
        self._metrics.evictions.labels(self.name).inc()
        log.info("model makes room", model=self.name)
        self._unloading = _begun(stack.aclose())
        await asyncio.shield(self._unloading)

    async def close(self) -> None:
        """Unload for good, when nobody holds them any more; to be called again if it was cancelled."""
        if self._ending is None:
            self._ending = _begun(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        await self._held.empty()
        self._closed = True
        if self._loading:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        if self._unloading:
            await self._unloading
        await self._stack.aclose()

    def _begin(self, call: Call) -> asyncio.Task[Batcher]:
        self._loading = _begun(self._load())
        self._loading.add_done_callback(partial(self._note, call))
        return self._loading

    async def _load(self) -> Batcher:
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._budget.held(self))
            batcher = await stack.enter_async_context(self._weights.open())
            self._stack = stack.pop_all()
        self.batcher = batcher
        self.used_at = time.monotonic()
        self._metrics.seconds.labels(self.name).observe(self.used_at - began)
        self._told()
        return batcher

    def _note(self, call: Call, loading: asyncio.Task[Batcher]) -> None:
        """See what became of a load, whether or not anybody waits for it."""
        self._loading = None
        if loading.cancelled():
            self._breaker.abandoned(call)
        elif not (error := loading.exception()):
            self._breaker.succeeded(call)
            self._count("loaded")
        elif isinstance(error, OverloadedError):
            self._breaker.abandoned(call)
            self._count("refused")
        else:
            self._breaker.failed(call)
            self._count("failed")

    def _complain(self, loading: asyncio.Task[Batcher]) -> None:
        """Say why a load failed that a request began: that one is only told that it did."""
        error = None if loading.cancelled() else loading.exception()
        if error and not isinstance(error, OverloadedError):
            defect = None if isinstance(error, ConfigurationError) else error  # of ours: its traceback counts
            log.error("model not loaded", model=self.name, reason=str(error), exc_info=defect)

    def _count(self, result: str) -> None:
        self._metrics.loads.labels(self.name, result).inc()

    def _down(self) -> ProviderDownError:
        return ProviderDownError(f"the model {self.name} could not be loaded; try again later")


def _begun(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin what outlives the request that it is begun for, and knows nothing of it, nor keeps its key."""
    return asyncio.create_task(work, context=Context())
