"""Answers a request with one model: look up, tokenize, compute what is missing, put together in order."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import numpy as np

from embedsvc.cache.cache import Cache
from embedsvc.cache.row import Key, Row
from embedsvc.config import LimitSettings
from embedsvc.engine.encoder import normalized
from embedsvc.engine.job import Computed
from embedsvc.engine.offload import Threads
from embedsvc.engine.tokenizer import Tokenized
from embedsvc.errors import DeadlineExceededError, EmbedsvcError
from embedsvc.flights import Flights, Landed
from embedsvc.lookup import Known, Lookup
from embedsvc.metrics import Metrics
from embedsvc.order import Order, Stay
from embedsvc.preparer import Items, Prepared, Preparer
from embedsvc.types import Embeddings, Timings, Truncation, Vectors

NOTHING = Landed({})


class _Inputs:
    """The inputs of a request, by what becomes of them.

    Attributes:
        errors: What is wrong with some, by place.
        rows: What is known of others.
        texts: The tokens of those that are to be computed.
        tokens: Of every input, how many; 0 for a wrong one.
        truncated: Of every input, whether some were dropped.
    """

    def __init__(self, items: Items, known: Known) -> None:
        self.errors: dict[int, EmbedsvcError] = {}
        self.rows: dict[int, Row] = {}
        self.texts: dict[int, Tokenized] = {}
        self.tokens = [0] * len(items)
        self.truncated = [False] * len(items)
        for at, item in enumerate(items):
            if isinstance(item, EmbedsvcError):
                self.errors[at] = item
            elif row := known.rows.get(at):
                self.rows[at] = row
                self.tokens[at], self.truncated[at] = row.tokens, row.truncated
            elif item:
                self.texts[at] = item
                self.tokens[at], self.truncated[at] = len(item.ids), item.truncated


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
        """Compute some, with all that the order holds; vectors are finished but for cutting."""
        async with self.stay.taken() as worker:
            computed = await worker.submit([text.ids for text in texts], self.order.caller)
        if self.order.normalizes:
            computed.vectors = normalized(computed.vectors)
        return computed


@dataclass(frozen=True, slots=True)
class _Result:
    """What was computed.

    Attributes:
        vectors: All dimensions, float32 of shape [texts, dimensions], or rows of it one by one.
        landed: Where the time went, and what others had computed.
    """

    vectors: Sequence[Vectors] | Vectors = ()
    landed: Landed = NOTHING


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
            inputs = _Inputs(prepared.items, known)
            if inputs.errors and not request.allow_partial:
                raise next(iter(inputs.errors.values()))
            await account.charge(sum(inputs.tokens))
            result = await self._compute(_Work(order, stay, inputs.texts, known.keys))
        self._count(known, inputs, result.landed)
        return Embeddings(
            model=order.model.card.name,
            vectors=_cut(_together(inputs, result, order.model.dimensions), dimensions, order),
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

    async def _compute(self, work: _Work) -> _Result:
        if not work.texts:
            return _Result()
        if work.keys:
            landed = await self._compute_once(work)
            return _Result([landed.rows[work.keys[at]].vector for at in work.texts], landed)
        computed = await work.submit(list(work.texts.values()))
        return _Result(computed.vectors, Landed({}, computed.queued, computed.inferred))

    async def _compute_once(self, work: _Work) -> Landed:
        """Each text once, also where several requests have it at the same time; what comes of it is kept."""
        wanted = {work.keys[at]: text for at, text in work.texts.items()}

        async def compute(keys: Sequence[Key]) -> Landed:
            texts = [wanted[key] for key in keys]
            computed = await work.submit(texts)
            rows = self._keep(zip(keys, texts, computed.vectors, strict=True))
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

    def _keep(self, computed: Iterable[tuple[Key, Tokenized, Vectors]]) -> Mapping[Key, Row]:
        assert self._cache is not None  # noqa: S101 - else nothing has a key
        expires_at = time.time() + self._cache.ttl
        rows = {
            key: Row(_frozen(vector), len(text.ids), text.truncated, expires_at)
            for key, text, vector in computed
        }
        self._cache.keep(rows.items())
        return rows

    def _count(self, known: Known, inputs: _Inputs, landed: Landed) -> None:
        lookups = self._metrics.cache.lookups
        if not known.keys:
            lookups.labels("off").inc(len(inputs.texts))
            return
        joined = sum(known.keys[at] in landed.joined for at in inputs.texts)
        lookups.labels("memory").inc(len(inputs.rows) - min(known.second, len(inputs.rows)))
        lookups.labels("second").inc(min(known.second, len(inputs.rows)))
        lookups.labels("joined").inc(joined)
        lookups.labels("miss").inc(len(inputs.texts) - joined)


def _frozen(vector: Vectors) -> Vectors:
    """A copy that nobody can change, and that keeps nothing else in memory."""
    kept = vector.copy()
    kept.flags.writeable = False
    return kept


def _together(inputs: _Inputs, result: _Result, dimensions: int) -> Vectors:
    """All vectors in the places of their inputs; zeros for failed ones."""
    size = len(inputs.tokens)
    if len(result.vectors) == size:
        return np.asarray(result.vectors)
    vectors = np.zeros((size, dimensions), dtype=np.float32)
    if inputs.texts:
        vectors[list(inputs.texts)] = result.vectors
    if inputs.rows:
        vectors[list(inputs.rows)] = [row.vector for row in inputs.rows.values()]
    return vectors


def _cut(vectors: Vectors, dimensions: int, order: Order) -> Vectors:
    """Keep the leading dimensions, scaled to length 1 again where the whole vector was.

    But those for calibrated bytes: the range of each dimension is that of whole vectors.
    """
    if dimensions == vectors.shape[1]:
        return vectors
    cut = vectors[:, :dimensions]
    return normalized(cut) if order.normalizes and not order.request.output_type.is_calibrated else cut
