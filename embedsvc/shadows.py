"""Requests that are also sent to another model, behind the caller's back: bounded, and never in the way."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog

from embedsvc.errors import EmbedsvcError
from embedsvc.metrics.routing import RouteMetrics
from embedsvc.order import Order
from embedsvc.store.records import SHADOW, InjectionPolicy, RequestRow
from embedsvc.types import Caller, Embeddings, EmbedRequest, OutputType, TextOrIds, Unlimited

log = structlog.get_logger()

MOST = 32
"""Shadows under way; further ones are dropped, and counted."""

SECONDS = 60.0
"""How long one may take."""

NAME = "shadow"
"""What fairness is kept between: all shadows are one caller, and bulk work."""

Answer = Callable[[Order], Awaitable[Embeddings]]
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

    def send(self, order: Order, alias: str, failed: Collection[int] = ()) -> None:
        """Send one, unless too many are under way.

        Args:
            order: What, and who is sent it.
            alias: The name that leads to both.
            failed: The places of inputs that were refused: nobody is sent those.
        """
        inputs = [item for at, item in enumerate(order.request.inputs) if at not in failed]
        if not inputs:
            return
        order = replace(order, request=_plain(order.request, inputs))
        if len(self._tasks) >= MOST:
            self._count(alias, order, "dropped")
            return
        task = asyncio.create_task(self._send(order, alias))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up those that are under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _send(self, order: Order, alias: str) -> None:
        started = time.monotonic()
        model = order.model.card.name
        try:
            embeddings = await self._answer(_shadow_of(order, started + SECONDS))
        except EmbedsvcError as error:
            log.info("shadow failed", alias=alias, model=model, reason=error.message)
            self._count(alias, order, "failed")
        except Exception:
            log.exception("shadow failed", alias=alias, model=model)
            self._count(alias, order, "failed")
        else:
            self._count(alias, order, "ok")
            took = time.monotonic() - started
            self._metrics.shadow_seconds.labels(model).observe(took)
            self._write_down(_row(embeddings, took))

    def _count(self, alias: str, order: Order, outcome: str) -> None:
        self._metrics.shadows.labels(alias, order.model.card.name, outcome).inc()


def _plain(request: EmbedRequest, inputs: Sequence[TextOrIds]) -> EmbedRequest:
    """The same as any model can answer it: nobody sees in which form."""
    return replace(
        request, inputs=inputs, dimensions=None, output_type=OutputType.FLOAT32, allow_partial=True
    )


def _shadow_of(order: Order, deadline: float) -> Order:
    """The same of a caller that nobody waits for."""
    account, caches = _ShadowAccount(order.caller), order.caller.caches
    return replace(order, caller=Caller(NAME, deadline, bulk=True, account=account, caches=caches))


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
