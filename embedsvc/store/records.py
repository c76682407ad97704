"""What is kept, in the service's own terms; each store turns it into its own rows.

Times are seconds since the epoch, and lengths of time are seconds.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias


class InjectionPolicy(StrEnum):
    """What is done with a text that looks like prompt injection."""

    REJECT = "reject"
    FLAG = "flag"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a caller may have; None where there is no limit.

    Attributes:
        requests_per_minute: Requests of one minute.
        tokens_per_minute: Tokens of one minute, as models read them.
        quota_requests: Requests of one window of `quota_seconds`.
        quota_tokens: Tokens of one window of `quota_seconds`.
        quota_seconds: How long a quota's window is.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    quota_requests: int | None = None
    quota_tokens: int | None = None
    quota_seconds: int = 3600


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key, without the key.

    Attributes:
        digest: Its SHA-256 in hexadecimal; what it is found by.
        prefix: Its first characters, for people to tell keys apart.
        name: What people call it; a successor has the same name.
        owner: Whose it is.
        models: Canonical names of the models that it may use; empty: all.
        calls: What it may call, of "embed", "stream" and "models"; empty: all.
        limits: How much it may have.
        injection: What is done with suspicious texts; None: what the configuration says.
        cache: Whether its texts are looked up in the cache, and kept there.
        created_at: When it was made.
        expires_at: When it stops to work; None: never.
        revoked_at: When it was revoked; None: it was not.
        used_at: When it was last used, give or take a minute; None: never.
        successor: The digest of the key that was made in its place.
    """

    digest: str
    prefix: str
    name: str
    owner: str = ""
    models: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    injection: InjectionPolicy | None = None
    cache: bool = True
    created_at: float = 0.0
    expires_at: float | None = None
    revoked_at: float | None = None
    used_at: float | None = None
    successor: str | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """A block of units that a server asks a shared limit for.

    Attributes:
        name: The limit's name, such as "selfHostedEmbeddings" or "key:9f86d081:requests".
        units: Requests or tokens that are wanted.
        limit: Units of one window, over all servers.
        period: How long a window is. It begins with the first unit that is asked for, and others follow it.
    """

    name: str
    units: int
    limit: int
    period: float


@dataclass(frozen=True, slots=True)
class Grant:
    """What a server got of a limit.

    Attributes:
        units: What it may spend before the window ends: what it wanted, or what there was.
        remaining: What is left for all servers.
        resets_in: When the window ends.
    """

    units: int
    remaining: int
    resets_in: float


SHADOW = "(shadow)"
"""The identity of what is sent to a second model and answers nobody; no certificate's may be called so."""


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request in the ledger: never text, vectors or a key.

    Attributes:
        request_id: The caller's own id, or the one that was made for it.
        key: The digest of the key; empty where a certificate alone was the caller.
        identity: The name of the certificate's identity.
        rpc: The RPC's name.
        model: The model that answered, or the empty string.
        requests: How many this row stands for: those of a stream are summed.
        inputs: Texts.
        tokens: Tokens that the model read.
        cached: Texts that were answered from a cache.
        latency_ms: Milliseconds from the call's start to its end, summed over `requests`.
        outcome: The gRPC status code's name.
        at: When it ended.
    """

    request_id: str
    key: str
    identity: str
    rpc: str
    model: str
    requests: int
    inputs: int
    tokens: int
    cached: int
    latency_ms: float
    outcome: str
    at: float


@dataclass(frozen=True, slots=True)
class FailureRow:
    """Failed authentications that are alike.

    Attributes:
        prefix: The first characters of the key that was tried; empty where there was none.
        reason: Why it failed.
        address: Whence, without the port.
        count: How many there were.
        first_at: When the first was.
        last_at: When the last was.
    """

    prefix: str
    reason: str
    address: str
    count: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one key used of one model in one day (UTC).

    Attributes:
        day: As "2026-11-25".
        key: The digest of the key; empty where a certificate alone was the caller.
        identity: The name of the certificate's identity.
        model: The model, or the empty string where none answered.
        requests: Requests that were answered or refused.
        errors: Those that failed.
        inputs: Texts.
        tokens: Tokens that the model read.
        cached: Texts that were answered from a cache.
        latency_ms: Milliseconds, summed over requests.
        slowest_ms: The largest mean of one row.
    """

    day: str
    key: str
    identity: str
    model: str
    requests: int
    errors: int
    inputs: int
    tokens: int
    cached: int
    latency_ms: float
    slowest_ms: float


@dataclass(frozen=True, slots=True)
class RouteRecord:
    """What `embedsvc migrate set` says of an alias: see `config.RouteSettings` for the meaning of each.

    Attributes:
        alias: The name that callers send.
        model: The model that answers `share` percent of the callers.
        other: The model on the other side; empty: there is none.
        share: Percent, 0 to 100.
        sticky: "key" or "index".
        shadow: Percent of requests, 0 to 100.
        fallback: Whether one side may answer for the other.
        changed_at: When it was said.
    """

    alias: str
    model: str
    other: str = ""
    share: float = 100.0
    sticky: Literal["key", "index"] = "key"
    shadow: float = 0.0
    fallback: bool = False
    changed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class UnreadRoute:
    """What is kept of an alias, and is no `RouteRecord`: another release wrote it, or another hand.

    Attributes:
        alias: The name that callers send.
        reason: Why it cannot be read, a line for people.
    """

    alias: str
    reason: str


KeptRoute: TypeAlias = RouteRecord | UnreadRoute
"""What a store has of an alias."""
