"""Answers a request with one model: look up, tokenize, compute what is missing, put together in order."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from embedsvc import finishing
from embedsvc.cache.cache import Cache
from embedsvc.cache.row import Key
from embedsvc.config import LimitSettings
from embedsvc.engine.job import Computed
from embedsvc.engine.offload import Threads
from embedsvc.engine.tokenizer import Tokenized
from embedsvc.errors import DeadlineExceededError
from embedsvc.finishing import Inputs, Result
from embedsvc.flights import Flights, Landed
from embedsvc.lookup import Known, Lookup
from embedsvc.metrics import Metrics
from embedsvc.order import Order, Stay
from embedsvc.preparer import Prepared, Preparer
from embedsvc.types import Embeddings, Timings, Truncation

T = TypeVar("T")

MANY_NUMBERS = 262_144
"""Of vectors: what is done with more takes milliseconds."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be computed of an order.

    Attributes:
        order: Whose.
        stay: What it holds of the model.
        texts: Tokens, by the place of the input.
        keys: What each input is found by; empty where nothing may be kept.
    """

    order: Order
    stay: Stay
    texts: Mapping[int, Tokenized]
    keys: Sequence[Key]

    async def submit(self, texts: Sequence[Tokenized]) -> Computed:
        """Compute some, with all that the order holds."""
        async with self.stay.taken() as worker:
            return await worker.submit([text.ids for text in texts], self.order.caller)


class Answerer:
    """See the module.

    Args:
        threads: Where texts are checked and tokenized.
        limits: What requests may hold.
        cache: Vectors of before; None: there are none, and each request is computed for itself.
        metrics: Where look-ups are counted.
    """

    def __init__(
        self, threads: Threads, limits: LimitSettings, cache: Cache | None, metrics: Metrics
    ) -> None:
        self._cache = cache
        self._threads = threads
        self._metrics = metrics
        self._preparer = Preparer(threads, limits)
        self._lookup = Lookup(cache, threads, Truncation(limits.truncation))
        self._flights = Flights()

    async def answer(self, order: Order) -> Embeddings:
        """Compute the vectors of a request.

        Raises:
            EmbedsvcError: What is wrong with the request, or with one of its inputs unless
                `request.allow_partial`.
        """
        request, account = order.request, order.caller.account
        account.allow(order.model.card.name, len(request.inputs))
        dimensions = order.dimensions()
        known = await self._lookup.recall(order)
        async with AsyncExitStack() as stack:
            stay = Stay(order, stack)
            if missing := known.missing(len(request.inputs)):
                await stay.begin(sum(order.likely_tokens(request.inputs[at]) for at in missing))
            started = time.monotonic()
            prepared = await self._prepare(order, known)
            took = time.monotonic() - started
            inputs = Inputs(prepared.items, known)
            if inputs.errors and not request.allow_partial:
                raise next(iter(inputs.errors.values()))
            await account.charge(sum(inputs.tokens))
            result = await self._compute(_Work(order, stay, inputs.texts, known.keys))
        self._count(known, inputs, result.landed)
        together = partial(finishing.together, inputs, result, order, dimensions)
        return Embeddings(
            model=order.model.card.name,
            vectors=await self._aside(len(inputs.tokens) * order.model.dimensions, together),
            tokens=inputs.tokens,
            truncated=inputs.truncated,
            errors=inputs.errors,
            flagged=frozenset(prepared.suspects),
            cached=frozenset(inputs.rows),
            calibration=order.model.card.calibration,
            timings=Timings(took, result.landed.queued, result.landed.inferred),
        )

    async def _prepare(self, order: Order, known: Known) -> Prepared:
        """Check and tokenize; meanwhile, ask the second level for what memory does not have."""
        preparing = self._preparer.prepare(order, frozenset(known.rows))
        if len(known.rows) < len(known.keys):
            prepared, _ = await asyncio.gather(preparing, self._lookup.fetch(order, known))
        else:
            prepared = await preparing
        for rule in prepared.suspects.values():
            self._metrics.injections.labels(order.policy, rule).inc()
        return prepared

    async def _compute(self, work: _Work) -> Result:
        if not work.texts:
            return Result()
        if work.keys:
            landed = await self._compute_once(work)
            return Result([landed.rows[work.keys[at]].vector for at in work.texts], landed)
        computed = await work.submit(list(work.texts.values()))
        finish = partial(finishing.finish, work.order, computed.vectors)
        vectors = await self._aside(computed.vectors.size, finish)
        return Result(vectors, Landed({}, computed.queued, computed.inferred))

    async def _compute_once(self, work: _Work) -> Landed:
        """Each text once, also where several requests have it at the same time; what comes of it is kept."""
        wanted = {work.keys[at]: text for at, text in work.texts.items()}

        async def compute(keys: Sequence[Key]) -> Landed:
            texts = [wanted[key] for key in keys]
            computed = await work.submit(texts)
            make = partial(finishing.rows, work.order, texts, computed.vectors, self._expiry())
            rows = dict(zip(keys, await self._aside(computed.vectors.size, make), strict=True))
            if self._cache:
                await self._cache.keep(list(rows.items()))
            return Landed(rows, computed.queued, computed.inferred)

        caller = work.order.caller
        before = self._lookup.again(list(wanted))  # another request may have had them computed by now
        left = [key for key in wanted if key not in before]
        try:
            async with asyncio.timeout_at(caller.deadline):
                landed = await self._flights.land(left, compute, bulk=caller.bulk)
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed before the vectors were ready") from None
        return landed.beside(before)

    def _expiry(self) -> float:
        """When what is computed now counts no more."""
        return time.time() + (self._cache.ttl if self._cache else 0.0)

    async def _aside(self, numbers: int, work: Callable[[], T]) -> T:
        """Do something with numbers; with so many that others would wait for it, off the event loop."""
        if numbers <= MANY_NUMBERS:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads.many, work)

    def _count(self, known: Known, inputs: Inputs, landed: Landed) -> None:
        lookups = self._metrics.cache.lookups
        if not known.keys:
            lookups.labels("off").inc(len(inputs.texts))
            return
        joined = sum(known.keys[at] in landed.joined for at in inputs.texts)
        lookups.labels("memory").inc(len(inputs.rows) - min(known.second, len(inputs.rows)))
        lookups.labels("second").inc(min(known.second, len(inputs.rows)))
        lookups.labels("joined").inc(joined)
        lookups.labels("miss").inc(len(inputs.texts) - joined)
