"""What each side costs: a provider has a price for its tokens, a machine of one's own one for its hours."""

from dataclasses import dataclass

from embedsvc.config import Settings
from embedsvc.operator.comparison.measuring import Side
from embedsvc.periods import HOUR

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a side costs, in US dollars; None where the configuration does not say.

    Attributes:
        million_tokens: A million tokens, as its own model counts them: two models count differently.
        million_documents: A million documents such as those that were compared.
    """

    million_tokens: float | None
    million_documents: float | None


def price(settings: Settings, side: Side) -> Price:
    """Price a side.

    A model of this machine costs `cost.usd_per_hour` over the tokens that it read in one, at the pace that
    was measured with one caller who waits: on a busy machine it is less.

    Args:
        settings: What the configuration says of prices.
        side: What was measured.
    """
    here = side.model in settings.models.served
    tokens = _local(settings, side) if here else _remote(settings, side.model)
    each = side.tokens / len(side.space.documents)
    return Price(tokens, None if tokens is None else tokens * each)


def _remote(settings: Settings, model: str) -> float | None:
    provider, _, name = model.partition("/")
    found = settings.providers[provider].models.get(name) if provider in settings.providers else None
    if found is None or "usd_per_million" not in found.model_fields_set:
        return None
    return found.usd_per_million


def _local(settings: Settings, side: Side) -> float | None:
    hour = settings.cost.usd_per_hour
    if hour is None or not side.tokens:
        return None
    return hour / HOUR * side.document_seconds / side.tokens * MILLION
