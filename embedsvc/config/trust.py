"""Who may call, how much, and what is written down of it."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from embedsvc.config.base import Positive, Seconds, Section
from embedsvc.secret.reference import Reference
from embedsvc.store.records import InjectionPolicy, Limits

Call = Literal["embed", "stream", "models"]
SHARED_PER_MINUTE = 2000


class Allowance(Section):
    """How much a caller may have; what is not set is not limited."""

    requests_per_minute: Positive | None = None
    """Requests of one minute; every batch of a stream is one."""
    tokens_per_minute: Positive | None = None
    """Tokens of one minute, as models read them."""
    quota_requests: Positive | None = None
    """Requests of one window of `quota_seconds`."""
    quota_tokens: Positive | None = None
    """Tokens of one window of `quota_seconds`."""
    quota_seconds: Positive = 3600
    """How long a quota's window is."""

    @property
    def limits(self) -> Limits:
        """The same, as it is kept of a key."""
        return Limits(
            self.requests_per_minute,
            self.tokens_per_minute,
            self.quota_requests,
            self.quota_tokens,
            self.quota_seconds,
        )


class IdentitySettings(Allowance):
    """`[[auth.identities]]`: a caller by its certificate."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    """What logs, limits and the ledger call it."""
    match: Annotated[tuple[str, ...], Field(min_length=1)]
    """SPIFFE ids and DNS names: a certificate with one of them in its SAN is this caller's. `*` at the
    end stands for anything, alone for every certificate of the CA. The first identity that matches counts."""
    key: Literal["required", "optional", "refused"] = "required"
    """Whether its calls need an API key beside the certificate."""
    calls: tuple[Call, ...] = ("embed", "stream", "models")
    """What it may call."""
    models: tuple[str, ...] = ()
    """Models that it may use, by their own names; empty: all."""
    cache: bool = True
    """Whether its texts are looked up in the cache, and kept there."""
    forwards: bool = False
    """Whether it speaks for others, as Envoy does: who called is then read from its `x-forwarded-for` and
    `x-forwarded-client-cert`, which nobody else is believed."""
    signed: Literal["required", "optional"] = "optional"
    """Whether its calls must be signed. A signature that is sent is checked in any case."""
    signing_secret: Reference | None = None
    """Where the secret is that it signs with; several lines are several secrets, of which it uses one."""

    @field_validator("match")
    @classmethod
    def _stars_are_at_the_end(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if any("*" in pattern[:-1] or not pattern for pattern in patterns):
            raise ValueError("a `*` may only be at the end, and a name must not be empty")
        return patterns

    @property
    def signer(self) -> str:
        """The setting that says where its secret is."""
        return f"auth.identities.{self.name}.signing_secret"

    @model_validator(mode="after")
    def _signs_with_something(self) -> Self:
        if self.signed == "required" and self.signing_secret is None:
            raise ValueError('signed = "required" needs signing_secret')
        return self


ENVOY = IdentitySettings(name="envoy", match=("spiffe://embedsvc.internal/envoy",), forwards=True)
ANYBODY = IdentitySettings(name="any", match=("*",))


class AuthSettings(Section):
    """`[auth]`: who may call."""

    keys: Reference | None = None
    """Where further API keys are: a line for each, its SHA-256 in hexadecimal, a space, a name. They count
    beside those of `embedsvc keys`, are read again when they change, and have the limits of `[rates]`."""
    identities: Annotated[tuple[IdentitySettings, ...], Field(min_length=1)] = (ENVOY, ANYBODY)
    """Certificates, and what their holders may do; any other certificate is refused. Not set: every
    certificate of the CA, with an API key; that of `spiffe://embedsvc.internal/envoy` forwards."""

    nonces: Path = Path(".run/nonces")
    """The folder in which processes of this machine remember signed calls, so that none is taken twice."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [identity.name for identity in self.identities]
        if len(set(names)) < len(names):
            raise ValueError("identities must have different names")
        if any("*" in identity.match for identity in self.identities[:-1]):
            raise ValueError('an identity that matches "*" must be the last: none after it would ever count')
        return self


class StoreSettings(Section):
    """`[store]`: where keys, limits and the ledger are kept."""

    kind: Literal["sqlite", "convex"] = "sqlite"
    """`sqlite`: a file on this machine. `convex`: a deployment that many replicas share."""
    path: Path = Path(".run/embedsvc.db")
    """SQLite's file; several processes of one machine may share it, several machines may not."""
    url: Annotated[str, Field(pattern=r"^https?://[^\s/@?#]+$")] = "http://localhost:3210"
    """Convex's address."""
    admin_key: Reference | None = None
    """Where Convex's admin key is, such as `file:/run/secrets/convex_admin_key`."""

    @model_validator(mode="after")
    def _convex_has_a_key(self) -> Self:
        if self.kind == "convex" and self.admin_key is None:
            raise ValueError('kind = "convex" needs admin_key')
        return self


class RateSettings(Allowance):
    """`[rates]`: how much a key may have that has no limits of its own, and all together."""

    shared_requests_per_minute: Annotated[int, Field(ge=0)] | None = None
    """Requests of one minute over all callers and all servers: the limit named `selfHostedEmbeddings`.
    0: none. Not set: none with SQLite; with Convex 2,000, which other services share. Nobody gets more
    than Convex's own functions have, which is 2,000."""

    def shared(self, store: StoreSettings) -> int:
        """Requests of one minute over all callers; 0 for no limit."""
        if self.shared_requests_per_minute is not None:
            return self.shared_requests_per_minute
        return SHARED_PER_MINUTE if store.kind == "convex" else 0


class LedgerSettings(Section):
    """`[ledger]`: what is written down of requests: never text, vectors or keys."""

    retention_days: Positive = 30
    """Days that requests and failed authentications are kept. With Convex its own environment decides."""
    usage_retention_days: Positive = 400
    """Days that the sums of `embedsvc usage` are kept."""
    queue_rows: Annotated[int, Field(ge=200)] = 20_000
    """Rows that may wait for the store; the oldest go when there are more, and are counted."""
    drain_seconds: Seconds = 5.0
    """How long a server that stops may take to write what is left."""


class InjectionSettings(Section):
    """`[injection]`: texts that look like prompt injection."""

    policy: InjectionPolicy = InjectionPolicy.REJECT
    """`reject`: they fail with INVALID_ARGUMENT, 400. `flag`: they are answered, and the answer says so.
    `off`: nobody looks. A key may have a policy of its own."""
