"""What vectors cost here, beside what they would have cost at OpenAI: pure."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from embedsvc import prices
from embedsvc.config import Settings
from embedsvc.periods import HOUR
from embedsvc.store.records import SHADOW, UsageRow

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Machines:
    """What computes here.

    Attributes:
        usd_per_hour: What one costs an hour, in US dollars.
        count: How many run, on average.
    """

    usd_per_hour: float
    count: float = 1.0

    @property
    def usd_an_hour(self) -> float:
        """What all cost an hour."""
        return self.usd_per_hour * self.count


@dataclass(frozen=True, slots=True)
class Use:
    """What was answered by some models.

    Attributes:
        texts: Texts.
        tokens: Tokens that models read for them.
        cached: Those of the texts that came from a cache.
    """

    texts: int = 0
    tokens: int = 0
    cached: int = 0

    @property
    def cached_share(self) -> float:
        """The part of the texts that came from a cache, 0 to 1."""
        return self.cached / self.texts if self.texts else 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a span of days cost. Amounts are US dollars.

    Attributes:
        machines: What computes here.
        since: The first day (UTC) of the span on which anything was used; None: there is none.
        hours: From the start of that day until now.
        here: What models of these machines answered.
        providers: What each model of a provider answered, by its own name here.
        providers_usd: What providers asked for it.
        unpriced: Models among them of which nobody says what they cost.
    """

    machines: Machines
    since: str | None
    hours: float
    here: Use
    providers: Mapping[str, Use]
    providers_usd: float
    unpriced: Sequence[str]

    @property
    def machines_usd(self) -> float:
        """What the machines cost."""
        return self.machines.usd_an_hour * self.hours

    @property
    def usd_per_million(self) -> float | None:
        """The price of a million tokens here; None where there were none."""
        return self.machines_usd / self.here.tokens * MILLION if self.here.tokens else None

    @property
    def tokens_per_hour(self) -> float:
        """Tokens that were answered here in an hour, on average."""
        return self.here.tokens / self.hours if self.hours else 0.0

    def openai_usd(self, price: float) -> float:
        """What OpenAI would have asked for what was answered here, at a price of `prices`."""
        return prices.cost(self.here.tokens, price)

    def saved_usd(self, price: float) -> float:
        """How much less the machines cost than that; below 0 where they cost more."""
        return self.openai_usd(price) - self.machines_usd

    def break_even(self, price: float) -> float:
        """Tokens of an hour from which on the machines cost less than that."""
        return self.machines.usd_an_hour / price * MILLION


def cost(rows: Iterable[UsageRow], settings: Settings, machines: Machines, now: dt.datetime) -> Cost:
    """Add up a span of days.

    Machines are counted from the start of the first day that has any use, since the ledger's sums are of
    days: not for the time before anybody used them, but for every idle hour since.

    Args:
        rows: What was used.
        settings: Which models are of these machines, and what others cost where they are.
        machines: What computes here.
        now: The end of the span, in UTC.
    """
    used = [row for row in rows if row.model]
    answered = [row for row in used if row.identity != SHADOW]  # nobody would have paid OpenAI for a shadow
    since = min((row.day for row in used), default=None)
    there = {
        name: _use(used, name) for name in sorted({row.model for row in used}) if is_there(name, settings)
    }
    asked = {name: _asked(name, use, settings) for name, use in there.items()}
    return Cost(
        machines=machines,
        since=since,
        hours=_hours(since, now) if since else 0.0,
        here=_use(answered, *({row.model for row in answered} - there.keys())),
        providers=there,
        providers_usd=sum((usd for usd in asked.values() if usd is not None), start=0.0),
        unpriced=[name for name, usd in asked.items() if usd is None],
    )


def _use(rows: Iterable[UsageRow], *models: str) -> Use:
    found = [row for row in rows if row.model in models]
    return Use(
        sum(row.inputs for row in found), sum(row.tokens for row in found), sum(row.cached for row in found)
    )


def is_there(model: str, settings: Settings) -> bool:
    """Whether a model is a provider's; also where that is in the settings no more."""
    return "/" in model and model not in settings.models.served


def _asked(model: str, use: Use, settings: Settings) -> float | None:
    """What a provider asked; None where nobody says. Texts from the cache were not sent to it."""
    name, _, of_it = model.partition("/")
    provider = settings.providers.get(name)
    known = provider.models.get(of_it) if provider else None
    if known is None or "usd_per_million" not in known.model_fields_set:
        return None
    return prices.cost(use.tokens, known.usd_per_million) * (1 - use.cached_share)


def _hours(day: str, now: dt.datetime) -> float:
    """Hours since a day (UTC) began."""
    began = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
    return max(0.0, (now - began).total_seconds()) / HOUR
