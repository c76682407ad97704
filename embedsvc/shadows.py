"""Requests that are also sent to another model, behind the caller's back: bounded, and never in the way."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog

from embedsvc.errors import EmbedsvcError
from embedsvc.metrics.routing import RouteMetrics
from embedsvc.providers.provider import EmbeddingProvider
from embedsvc.store.records import SHADOW, InjectionPolicy, RequestRow
from embedsvc.types import Caller, Embeddings, EmbedRequest, Unlimited

log = structlog.get_logger()

MOST = 32
"""Shadows under way; further ones are dropped, and counted."""

SECONDS = 60.0
"""How long one may take."""

NAME = "shadow"
"""What fairness is kept between: all shadows are one caller, and bulk work."""

Answer = Callable[[EmbedRequest, EmbeddingProvider, Caller], Awaitable[Embeddings]]
WriteDown = Callable[[RequestRow], None]


class _ShadowAccount(Unlimited):
    """What is sent a second time was checked and paid for the first time.

    Args:
        caller: Whose request it is.
    """

    injection = InjectionPolicy.OFF

    def __init__(self, caller: Caller) -> None:
        self.caches = caller.account.caches
        self.identity = caller.account.identity


class Shadows:
    """Sends requests a second time. Open it with `open_shadows`."""

    def __init__(self, answer: Answer, write_down: WriteDown, metrics: RouteMetrics) -> None:
        self._answer = answer
        self._write_down = write_down
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, request: EmbedRequest, alias: str, model: EmbeddingProvider, caller: Caller) -> None:
        """Send one, unless too many are under way."""
        if len(self._tasks) >= MOST:
            self._count(alias, model, "dropped")
            return
        task = asyncio.create_task(self._send(replace(request, allow_partial=True), alias, model, caller))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up those that are under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _send(
        self, request: EmbedRequest, alias: str, model: EmbeddingProvider, caller: Caller
    ) -> None:
        started = time.monotonic()
        shadow = Caller(
            NAME,
            deadline=started + SECONDS,
            bulk=True,
            account=_ShadowAccount(caller),
            caches=caller.caches,
        )
        try:
            embeddings = await self._answer(request, model, shadow)
        except EmbedsvcError as error:
            log.info("shadow failed", alias=alias, model=model.card.name, reason=error.message)
            self._count(alias, model, "failed")
        except Exception:
            log.exception("shadow failed", alias=alias, model=model.card.name)
            self._count(alias, model, "failed")
        else:
            self._count(alias, model, "ok")
            took = time.monotonic() - started
            self._metrics.shadow_seconds.labels(model.card.name).observe(took)
            self._write_down(_row(embeddings, took))

    def _count(self, alias: str, model: EmbeddingProvider, outcome: str) -> None:
        self._metrics.shadows.labels(alias, model.card.name, outcome).inc()


def _row(embeddings: Embeddings, seconds: float) -> RequestRow:
    """What the ledger is told: a provider is paid for it, too."""
    return RequestRow(
        request_id="",
        key="",
        identity=SHADOW,
        rpc="Shadow",
        model=embeddings.model,
        requests=1,
        inputs=len(embeddings.tokens),
        tokens=embeddings.total_tokens,
        cached=len(embeddings.cached),
        latency_ms=seconds * 1000,
        outcome="OK",
        at=time.time(),
    )


@asynccontextmanager
async def open_shadows(
    answer: Answer, write_down: WriteDown, metrics: RouteMetrics
) -> AsyncIterator[Shadows]:
    """Send while the context is open; leaving gives up what is under way.

    Args:
        answer: Answers a request with a model.
        write_down: Is told of those that were answered.
        metrics: Where they are counted.
    """
    shadows = Shadows(answer, write_down, metrics)
    try:
        yield shadows
    finally:
        await shadows.close()
