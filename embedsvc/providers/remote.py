"""One provider: how many calls it gets at once, whether it gets any, and what is counted of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from embedsvc import prices
from embedsvc.breaker import State
from embedsvc.config import ProviderSettings
from embedsvc.engine.job import Computed
from embedsvc.errors import EmbedsvcError, InvalidRequestError, OverloadedError, ProviderDownError
from embedsvc.metrics.routing import ProviderMetrics
from embedsvc.providers.answers import read_vectors
from embedsvc.providers.circuit import Circuit
from embedsvc.providers.outcome import CallError, Outcome
from embedsvc.types import Caller, Vectors

log = structlog.get_logger()

Send: TypeAlias = Callable[[str, Sequence[str], int], Awaitable[bytes]]
"""Asks for a model's vectors of texts; returns the answer, of so many bytes at most, or raises CallError."""

NUMBER_BYTES, ROW_BYTES, FRAME_BYTES = 32, 1024, 64 * 1024
"""Of an answer, at most: of a number that is written out, beside the numbers of a vector, and beside vectors;
the last also bounds what is read of a proxy's page, or of an error."""

LARGE = 256 * 1024
"""Bytes of an answer that is read in a thread, so that others do not wait for it."""

LONGEST_WAIT = 60.0
"""Seconds after which callers are told to try again, at most."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One call.

    Attributes:
        model: The provider's own name for it.
        dimensions: Of its vectors.
        texts: What is sent.
        tokens: How many that is.
    """

    model: str
    dimensions: int
    texts: Sequence[str]
    tokens: int

    @property
    def most(self) -> int:
        """The bytes that its answer may have."""
        return len(self.texts) * (self.dimensions * NUMBER_BYTES + ROW_BYTES) + FRAME_BYTES


class RemoteProvider:
    """OpenAI, or another server with its API. For one event loop.

    Args:
        name: Its name in the settings.
        settings: How it is called.
        send: Calls it.
        circuit: Leaves it alone when calls fail.
        metrics: Where calls are counted.

    Attributes:
        name: As above.
    """

    def __init__(
        self, name: str, settings: ProviderSettings, send: Send, circuit: Circuit, metrics: ProviderMetrics
    ) -> None:
        self.name = name
        self._send = send
        self._circuit = circuit
        self._metrics = metrics
        self._usd_per_million = {model: known.usd_per_million for model, known in settings.models.items()}
        self._room = asyncio.Semaphore(settings.concurrency)
        self._most_waiting = settings.queue
        self._waiting = 0
        self._refusal = ""

    @property
    def state(self) -> State:
        """The state of its circuit."""
        return self._circuit.state

    async def embed(self, ask: Ask, caller: Caller) -> Computed:
        """Make one call. Cancelling it hangs up.

        Raises:
            ProviderDownError: It fails, or is left alone since it failed before.
            OverloadedError: Too many calls wait.
            InvalidRequestError: It does not take these texts.
        """
        self._circuit.check()
        queued = time.monotonic()
        async with self._place(caller):
            began = time.monotonic()
            try:
                vectors = await self._call(ask)
            except CallError as error:
                raise self._explained(error) from None
            return Computed(vectors, began - queued, time.monotonic() - began)

    @asynccontextmanager
    async def _place(self, caller: Caller) -> AsyncIterator[None]:
        """Wait until fewer calls are under way."""
        if self._room.locked() and self._waiting >= self._most_waiting and not caller.patient:
            raise OverloadedError(f"too many requests wait for the provider {self.name}; try again later")
        self._waiting += 1
        try:
            await self._room.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._room.release()

    async def _call(self, ask: Ask) -> Vectors:
        outcome: Outcome = "skipped"
        began = time.monotonic()
        try:
            with self._circuit.passed():
                outcome = "left"
                content = await self._send(ask.model, ask.texts, ask.most)
                vectors = await _read(content, ask)
            outcome = "ok"
            self._metrics.tokens.labels(self.name).inc(ask.tokens)
            usd = prices.cost(ask.tokens, self._usd_per_million[ask.model])
            self._metrics.usd.labels(self.name).inc(usd)
        except CallError as error:
            outcome = error.outcome
            raise
        finally:
            self._metrics.calls.labels(self.name, outcome).inc()
            if outcome != "skipped":
                self._metrics.seconds.labels(self.name).observe(time.monotonic() - began)
        self._refusal = ""
        return vectors

    def _explained(self, error: CallError) -> EmbedsvcError:
        """Tell the log what happened, and the caller what it may know."""
        self._note(error)
        if error.outcome == "rejected":
            return InvalidRequestError(f"the provider {self.name} does not accept these inputs")
        wait = min(max(error.retry_after or 0.0, 1.0), LONGEST_WAIT)
        return ProviderDownError(f"the provider {self.name} is down; try again later", retry_after=wait)

    def _note(self, error: CallError) -> None:
        if error.outcome != "refused":
            log.warning(
                "provider call failed", provider=self.name, outcome=error.outcome, detail=error.detail
            )
        elif error.detail != self._refusal:
            self._refusal = error.detail
            log.error(
                "provider refuses our calls: its key, its url or the name of a model is wrong",
                setting=f"providers.{self.name}",
                detail=error.detail,
            )


async def _read(content: bytes, ask: Ask) -> Vectors:
    if len(content) < LARGE:
        return read_vectors(content, len(ask.texts), ask.dimensions)
    return await asyncio.to_thread(read_vectors, content, len(ask.texts), ask.dimensions)
