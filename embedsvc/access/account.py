"""What one request may use of its caller's limits, and what it used: the row that the ledger gets."""

import time

from embedsvc.access.gate import Gate
from embedsvc.access.principal import Guest
from embedsvc.errors import PermissionDeniedError, RateLimitedError, TokensLimitedError
from embedsvc.limits.bucket import SHARED, Bucket
from embedsvc.limits.headers import Headers, describe, duration
from embedsvc.limits.limiter import Limiter
from embedsvc.store.records import InjectionPolicy, RequestRow
from embedsvc.types import Embeddings


class Account:
    """See `types.Account`.

    Args:
        guest: Who calls.
        gate: What let it in.
        limiter: What keeps its limits.
        since: When the call came, in seconds of time.monotonic.
    """

    def __init__(self, guest: Guest, gate: Gate, limiter: Limiter, since: float) -> None:
        self.principal = guest.principal
        self._guest = guest
        self._gate = gate
        self._limiter = limiter
        self._since = since
        self._model = ""
        self._inputs = 0
        self._answered: Embeddings | None = None

    @property
    def injection(self) -> InjectionPolicy:
        """See types.Account."""
        return self.principal.injection

    @property
    def caches(self) -> bool:
        """See types.Account."""
        return self.principal.caches

    @property
    def identity(self) -> str:
        """See types.Account."""
        return self.principal.key or f"identity:{self.principal.identity.name}"

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return bool(self.principal.requests or self.principal.tokens)

    def permit(self, kind: str) -> None:
        """Raise PermissionDeniedError where the caller may not make such calls.

        Args:
            kind: "embed", "stream" or "models".
        """
        if kind not in self.principal.calls:
            name = self.principal.name
            raise PermissionDeniedError(f"{name} may not call {kind!r}; its policy or its key says so")

    async def again(self) -> "Account":
        """An account for another request of the same caller, as it is known now.

        Raises:
            UnauthenticatedError: Its key or its certificate counts no more.
            OverloadedError: Its key was not used for so long that it was forgotten, and the store is slow.
        """
        since = time.monotonic()
        return Account(await self._gate.again(self._guest), self._gate, self._limiter, since)

    async def admit(self) -> None:
        """Take a request off the caller's limits.

        Raises:
            RateLimitedError: There is none left.
        """
        self._limiter.expect(self.principal.tokens)  # their answer comes while texts are read
        if short := await self._limiter.take(self.principal.requests, 1, self._since):
            raise _refusal(RateLimitedError, short, 1)

    def may_use(self, model: str) -> bool:
        """See types.Account."""
        models = self.principal.models
        return models is None or model in models

    def allow(self, model: str, inputs: int) -> None:
        """See types.Account."""
        self._model, self._inputs = model, inputs
        if not self.may_use(model):
            raise PermissionDeniedError(f"{self.principal.name} may not use the model {model}", param="model")

    async def charge(self, tokens: int) -> None:
        """See types.Account."""
        if short := await self._limiter.take(self.principal.tokens, tokens, self._since):
            raise _refusal(TokensLimitedError, short, tokens)

    def note(self, embeddings: Embeddings) -> None:
        """See types.Account."""
        self._answered = embeddings

    def headers(self) -> Headers:
        """What the answer says of the caller's limits."""
        now = time.monotonic()
        principal = self.principal
        return [
            *describe("requests", principal.requests, now),
            *describe("tokens", principal.tokens, now),
        ]

    def row(self, request_id: str, rpc: str, outcome: str, seconds: float) -> RequestRow:
        """What the ledger is told."""
        answered = self._answered
        return RequestRow(
            request_id=request_id,
            key=self.principal.key,
            identity=self.principal.identity.name,
            rpc=rpc,
            model=self._model,
            requests=1,
            inputs=self._inputs,
            tokens=answered.total_tokens if answered else 0,
            cached=len(answered.cached) if answered else 0,
            latency_ms=seconds * 1000,
            outcome=outcome,
            at=time.time(),
        )


def _refusal(error: type[RateLimitedError], bucket: Bucket, units: int) -> RateLimitedError:
    limit = bucket.limit
    wait = bucket.retry_in(units, time.monotonic())
    whose = " of all callers together" if limit.name == SHARED else ""
    asked = f": this request has {units}" if units > 1 else ""
    hint = "it can never pass" if wait is None else f"try again in {duration(wait)}"
    over = f"over the limit{whose}, {limit.units} {error.openai_type} in {duration(limit.period)}"
    return error(f"{over}{asked}; {hint}", retry_after=wait)
