"""Text in, vectors out: a model's answer, or that of another which may stand in. What every way in calls."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from embedsvc import validate
from embedsvc.answering import Answerer
from embedsvc.cache.cache import Cache
from embedsvc.config import LimitSettings
from embedsvc.engine.offload import Threads
from embedsvc.errors import DeadlineExceededError, InvalidRequestError, ProviderDownError
from embedsvc.metrics import Metrics
from embedsvc.order import Order
from embedsvc.providers.provider import EmbeddingProvider
from embedsvc.routing.models import Choice, Models
from embedsvc.shadows import Shadows, WriteDown, open_shadows
from embedsvc.store.records import InjectionPolicy
from embedsvc.types import Account, Caller, Embeddings, EmbedRequest

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """What an embedder is made of.

    Attributes:
        models: Every model.
        threads: Where texts are checked and tokenized.
        limits: What requests may hold.
        cache: Vectors of before; None: there is none.
        write_down: Is told of what no caller was answered, for the ledger.
        metrics: Where requests are counted.
    """

    models: Models
    threads: Threads
    limits: LimitSettings
    cache: Cache | None
    write_down: WriteDown
    metrics: Metrics


class Embedder:
    """Answers requests. Open it with `open_embedder`."""

    def __init__(self, parts: Parts, answerer: Answerer, shadows: Shadows) -> None:
        self._models = parts.models
        self._limits = parts.limits
        self._metrics = parts.metrics
        self._answerer = answerer
        self._shadows = shadows

    async def embed(self, request: EmbedRequest, caller: Caller) -> Embeddings:
        """Compute the vectors of one request.

        Raises:
            EmbedsvcError: What is wrong with the request, or with one of its inputs unless
                `request.allow_partial`.
        """
        validate.check_count(request.inputs, self._limits, request.field)
        if caller.deadline is not None and caller.deadline <= time.monotonic():
            raise DeadlineExceededError("the deadline passed before the request was looked at")
        choice = self._models.choose(request.model, caller)
        admission = self._models.admission(choice.model)
        order = Order(request, caller, choice.model, admission, choice.openai_ids)
        with choice.held():
            if choice.fallback and caller.account.may_use(choice.fallback.card.name):
                embeddings = await self._answer_by_either(order, choice.fallback)
            else:
                embeddings = await self._answerer.answer(order)
        self._count(choice, embeddings)
        caller.account.note(embeddings)
        self._shadow(order, choice, embeddings)
        return embeddings

    def _shadow(self, order: Order, choice: Choice, embeddings: Embeddings) -> None:
        """Send the same to the other model, where that is wanted, and the caller may use it."""
        other = choice.shadow
        if other and not embeddings.fallback_from and order.caller.account.may_use(other.card.name):
            shadow = replace(order, model=other, admission=self._models.shadow_admission)
            self._shadows.send(shadow, choice.alias, embeddings.errors)

    async def _answer_by_either(self, order: Order, fallback: EmbeddingProvider) -> Embeddings:
        """The model's answer; where nothing computes for it, that of the one which may stand in."""
        order = replace(order, caller=replace(order.caller, account=_ChargedOnce(order.caller.account)))
        try:
            return await self._answerer.answer(order)
        except ProviderDownError as down:
            admission = self._models.admission(fallback)
            try:
                embeddings = await self._answerer.answer(replace(order, model=fallback, admission=admission))
            except InvalidRequestError:  # what the other model cannot do; the outage is what there is to tell
                order.caller.account.allow(order.model.card.name, len(order.request.inputs))
                raise down from None
        name = order.model.card.name
        log.warning("fallback", alias=order.request.model, model=name, by=embeddings.model)
        return replace(embeddings, fallback_from=name)

    def _count(self, choice: Choice, embeddings: Embeddings) -> None:
        self._metrics.texts.labels(embeddings.model).inc(len(embeddings.tokens) - len(embeddings.errors))
        self._metrics.tokens.labels(embeddings.model).inc(embeddings.total_tokens)
        if self._models.is_here(embeddings.model):
            self._metrics.cost.answered(embeddings.total_tokens)
        if choice.alias:
            self._metrics.routes.answers.labels(choice.alias, embeddings.model).inc()
        if embeddings.fallback_from:
            names = choice.alias, embeddings.fallback_from, embeddings.model
            self._metrics.routes.fallbacks.labels(*names).inc()


class _ChargedOnce:
    """An account whose tokens are paid once, though two models may read them.

    Args:
        account: Whose it is.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._charged = 0

    @property
    def injection(self) -> InjectionPolicy:
        """See Account."""
        return self._account.injection

    @property
    def caches(self) -> bool:
        """See Account."""
        return self._account.caches

    @property
    def identity(self) -> str:
        """See Account."""
        return self._account.identity

    def may_use(self, model: str) -> bool:
        """See Account."""
        return self._account.may_use(model)

    def allow(self, model: str, inputs: int) -> None:
        """See Account."""
        self._account.allow(model, inputs)

    async def charge(self, tokens: int) -> None:
        """See Account."""
        if tokens > self._charged:
            await self._account.charge(tokens - self._charged)
            self._charged = tokens

    def note(self, embeddings: Embeddings) -> None:
        """See Account."""
        self._account.note(embeddings)


@asynccontextmanager
async def open_embedder(parts: Parts) -> AsyncIterator[Embedder]:
    """Have an embedder while the context is open; leaving gives up what is sent behind callers' backs."""
    answerer = Answerer(parts.threads, parts.limits, parts.cache, parts.metrics)
    async with open_shadows(answerer.answer, parts.write_down, parts.metrics.routes) as shadows:
        yield Embedder(parts, answerer, shadows)
