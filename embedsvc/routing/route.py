"""What a name stands for that is not one model's: which of two answers whom. Pure."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from embedsvc.config.routing import NAME, RouteSettings
from embedsvc.store.records import KeptRoute, RouteRecord

PLACES = 10_000
"""How finely callers are shared out: a place is a hundredth of a percent."""


@dataclass(frozen=True, slots=True)
class Route:
    """See `config.RouteSettings` for the meaning of each; models are named by their own names.

    Attributes:
        alias: The name that callers send.
        model: The model that answers `share` percent of the callers.
        other: The model on the other side; empty: there is none.
        share: Percent, 0 to 100.
        sticky: "key" or "index".
        shadow: Percent of requests, 0 to 100.
        fallback: Whether one side may answer for the other.
    """

    alias: str
    model: str
    other: str = ""
    share: float = 100.0
    sticky: Literal["key", "index"] = "key"
    shadow: float = 0.0
    fallback: bool = False


SAID = [field.name for field in fields(Route) if field.name != "alias"]
"""What is said of an alias, here as in settings and in what is kept."""


def from_settings(alias: str, settings: RouteSettings) -> Route:
    """What the configuration says of an alias."""
    return Route(alias, **{name: getattr(settings, name) for name in SAID})


def read(kept: KeptRoute) -> RouteRecord:
    """Return what is kept of an alias. Raises ValueError where it cannot be read."""
    if isinstance(kept, RouteRecord):
        return kept
    raise ValueError(kept.reason)


def from_record(record: RouteRecord) -> Route:
    """What was said of an alias while the service ran.

    Raises:
        ValueError: It could not be said in the configuration; the message is a line for people.
    """
    try:
        settings = RouteSettings(**{name: getattr(record, name) for name in SAID})
    except ValidationError as error:
        raise ValueError("; ".join(map(_line, error.errors()))) from None
    return from_settings(record.alias, settings)


def _line(error: ErrorDetails) -> str:
    where = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def check(route: Route, known: Collection[str]) -> None:
    """Raise ValueError where a route has a model's name, or leads to a model that is not there.

    Args:
        route: The route.
        known: Every model by its own name.
    """
    if not re.fullmatch(NAME, route.alias) or route.alias in known:
        raise ValueError(f"{route.alias!r} must be a name that no model has")
    for name in filter(None, (route.model, route.other)):
        if name not in known:
            raise ValueError(
                f"{name!r} is not served; models are named by their own names: {', '.join(known)}"
            )


def side_of(route: Route, caller: str, index: str) -> tuple[str, str]:
    """Say which model answers a caller, and which is on the other side; "" where there is none.

    The same caller is always on the same side, whoever asks. When `share` grows, callers move from `other`
    to `model` and none the other way.

    Args:
        route: The route.
        caller: The name of the caller's key.
        index: Which of its indexes the vectors are for; empty where it does not say.
    """
    if not route.other:
        return route.model, ""
    sticky = index if route.sticky == "index" and index else caller
    if _place(route.alias, sticky) < round(route.share * PLACES / 100):
        return route.model, route.other
    return route.other, route.model


def is_shadowed(route: Route, random: float) -> bool:
    """Whether a request is also sent to the other side.

    Args:
        route: The route.
        random: A number from 0 to 1, 1 left out.
    """
    return bool(route.other) and random * 100 < route.shadow


def _place(alias: str, sticky: str) -> int:
    """Where a caller stands among all that there could be, from 0 to `PLACES`, which is left out."""
    digest = hashlib.sha256(f"{alias}\0{sticky}".encode()).digest()
    return int.from_bytes(digest[:8]) % PLACES
