"""Where else vectors come from, and which model a name stands for."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from embedsvc.config.base import Positive, Seconds, Section
from embedsvc.secret.reference import Reference

Percent = Annotated[float, Field(ge=0, le=100)]
ProviderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
"""What is before the slash in the names of a provider's models, and in those of its series."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"


class RemoteModelSettings(Section):
    """`[providers.NAME.models."MODEL"]`: a model of another server, which callers name `NAME/MODEL`."""

    dimensions: Positive
    """The length of its vectors."""
    max_tokens: Positive = 8191
    """Tokens of one text, at most, as OpenAI's cl100k_base counts them; longer texts are cut here."""
    allow_dimensions: bool = False
    """Whether its vectors may be cut, as those of OpenAI's text-embedding-3 may."""
    normalized: bool = True
    """Whether its vectors have length 1."""
    usd_per_million: Annotated[float, Field(ge=0)] = 0.0
    """What a million tokens cost there, in US dollars."""


class ProviderSettings(Section):
    """`[providers.NAME]`: OpenAI, or another server with its API. Texts for its models leave this machine."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")] = "https://api.openai.com/v1"
    """Its address, up to what is before `/embeddings`."""
    key: Reference | None = None
    """Where its API key is; not set: it needs none. The key of a caller is never sent to it."""
    ca: Path | None = None
    """The CA of its certificate; not set: those that the world trusts."""
    timeout_seconds: Seconds = 30.0
    """How long one try of a call may take."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a call is tried again that was refused for a limit, or failed on the way."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 16
    """Calls under way, at most; further ones wait."""
    queue: Positive = 256
    """Calls that may wait; further ones get UNAVAILABLE."""
    failures: Annotated[int, Field(ge=1, le=1000)] = 5
    """Failed calls in a row after which it is left alone for a while (its circuit is open)."""
    pause_seconds: Seconds = 5.0
    """How long it is left alone before one call tries again; doubled with each failure, to a minute."""
    models: Annotated[dict[str, RemoteModelSettings], Field(min_length=1)]
    """Its models, by its own names for them."""


class RouteSettings(Section):
    """`[routes."ALIAS"]`: which model a name stands for, where it is not simply the alias of one.

    `embedsvc migrate set` changes a route of a running service; what it says counts before what is said here.
    """

    model: Annotated[str, Field(min_length=1)]
    """The model that answers `share` percent of the callers, by its own name."""
    other: str = ""
    """The model on the other side, which answers the rest. Its vectors are of another space: an index must
    hold those of one side only."""
    share: Percent = 100.0
    """Percent of the callers that `model` answers."""
    sticky: Literal["key", "index"] = "key"
    """What keeps a caller on its side. `key`: the name of its key. `index`: the value of its header
    `x-embedsvc-index`, so that one caller may have indexes on both; its key where it sends none."""
    shadow: Percent = 0.0
    """Percent of the requests that are also sent to the other side, which does not answer them."""
    fallback: bool = False
    """Whether the other side may answer when the one that should is down. The vectors are then of another
    space, which the answer says."""

    @model_validator(mode="after")
    def _two_sides_differ(self) -> Self:
        if self.other == self.model:
            raise ValueError("other must be another model than model")
        if not self.other and (self.share < 100 or self.shadow or self.fallback):  # noqa: PLR2004 - all
            raise ValueError("share, shadow and fallback need other, the model of the other side")
        return self


class CostSettings(Section):
    """`[cost]`: what the machines cost, to be compared with OpenAI's prices."""

    usd_per_hour: Annotated[float, Field(ge=0)] | None = None
    """What one machine (one server with its GPU) costs an hour, in US dollars."""
