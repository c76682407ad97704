"""Text in, vectors out: check, tokenize, compute, normalize, cut. What every way in calls."""

import time
from collections.abc import Mapping

import numpy as np

from embedsvc import validate
from embedsvc.config import LimitSettings
from embedsvc.engine.encoder import normalized
from embedsvc.engine.engine import Engine
from embedsvc.engine.served import ServedModel
from embedsvc.engine.tokenizer import Tokenized
from embedsvc.errors import EmbedsvcError
from embedsvc.metrics import Metrics
from embedsvc.preparer import Preparer
from embedsvc.store.records import InjectionPolicy
from embedsvc.types import Caller, Embeddings, EmbedRequest, TextOrIds, Timings, Vectors


class Embedder:
    """Answers requests with the engine's models."""

    def __init__(self, engine: Engine, limits: LimitSettings, metrics: Metrics) -> None:
        self._engine = engine
        self._limits = limits
        self._metrics = metrics
        self._preparer = Preparer(engine.threads, limits)

    async def embed(self, request: EmbedRequest, caller: Caller) -> Embeddings:
        """Compute the vectors of one request.

        Raises:
            EmbedsvcError: What is wrong with the request, or with one of its inputs unless
                `request.allow_partial`.
        """
        validate.check_count(request.inputs, self._limits, request.field)
        model = self._engine.find(request.model)
        caller.account.allow(model.name, len(request.inputs))
        dimensions = validate.check_dimensions(
            request.dimensions or model.card.dimensions,
            model.dimensions,
            allowed=model.card.allows_dimensions,
            model=model.name,
        )
        cost = sum(_likely_tokens(item, model) for item in request.inputs)
        async with model.entered(caller), self._engine.admission.admit(cost, caller):
            embeddings = await self._compute(request, model, dimensions, caller)
        self._count(embeddings)
        caller.account.note(embeddings)
        return embeddings

    async def _compute(
        self, request: EmbedRequest, model: ServedModel, dimensions: int, caller: Caller
    ) -> Embeddings:
        started = time.monotonic()
        found = await self._preparer.prepare(request, model, caller.account.injection)
        took = time.monotonic() - started
        prepared = found.items
        self._count_suspects(found.suspects, caller.account.injection)
        errors = {at: item for at, item in enumerate(prepared) if isinstance(item, EmbedsvcError)}
        if errors and not request.allow_partial:
            raise next(iter(errors.values()))
        texts = [item for item in prepared if isinstance(item, Tokenized)]
        await caller.account.charge(sum(len(text.ids) for text in texts))
        computed = await model.batcher.submit([text.ids for text in texts], caller)
        vectors = _finish(computed.vectors, dimensions, normalize=_normalizes(request, model))
        return Embeddings(
            model=model.name,
            vectors=_spread(vectors, errors) if errors else vectors,
            tokens=[len(item.ids) if isinstance(item, Tokenized) else 0 for item in prepared],
            truncated=[isinstance(item, Tokenized) and item.truncated for item in prepared],
            errors=errors,
            flagged=frozenset(found.suspects),
            timings=Timings(took, computed.queued, computed.inferred),
        )

    def _count_suspects(self, suspects: Mapping[int, str], policy: InjectionPolicy) -> None:
        for rule in suspects.values():
            self._metrics.injections.labels(policy, rule).inc()

    def _count(self, embeddings: Embeddings) -> None:
        texts = len(embeddings.tokens) - len(embeddings.errors)
        self._metrics.texts.labels(embeddings.model).inc(texts)
        self._metrics.tokens.labels(embeddings.model).inc(embeddings.total_tokens)
        self._metrics.cache.lookups.labels("miss").inc(texts)


def _likely_tokens(item: TextOrIds, model: ServedModel) -> int:
    """What an input may cost before it is tokenized: scarcely ever more tokens than characters."""
    return min(len(item) + 2, model.tokenizer.max_tokens)


def _normalizes(request: EmbedRequest, model: ServedModel) -> bool:
    return model.card.files.normalized if request.normalize is None else request.normalize


def _finish(vectors: Vectors, dimensions: int, *, normalize: bool) -> Vectors:
    """Cut, then scale: a vector that is cut first and normalized once is normalized."""
    cut = vectors[:, :dimensions]
    return normalized(cut) if normalize else cut


def _spread(vectors: Vectors, errors: Mapping[int, EmbedsvcError]) -> Vectors:
    """Leave a row of zeros for each failed input."""
    rows = len(vectors) + len(errors)
    spread = np.zeros((rows, vectors.shape[1]), dtype=np.float32)
    spread[[at for at in range(rows) if at not in errors]] = vectors
    return spread
