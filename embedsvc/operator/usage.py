"""What was used, grouped as an operator asks: pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from embedsvc import prices
from embedsvc.operator.keys import STARTED, handle
from embedsvc.operator.shown import Cell, Column
from embedsvc.store.records import SHADOW, KeyRecord, UsageRow

Group = Literal["day", "key", "owner", "identity", "model"]
GROUPS: Sequence[Group] = ("day", "key", "owner", "identity", "model")
NOBODY = "-"

SUMS = (
    Column("requests", "requests", number=True),
    Column("errors", "errors", number=True),
    Column("texts", "texts", number=True),
    Column("tokens", "tokens", number=True),
    Column("cached", "cached", number=True),
    Column("mean ms", "mean_ms", number=True),
    Column("slowest ms", "slowest_ms", number=True),
    Column("saved $ (3-small)", "saved_small_usd", number=True),
    Column("saved $ (3-large)", "saved_large_usd", number=True),
)


@dataclass(slots=True)
class _Total:
    requests: int = 0
    errors: int = 0
    inputs: int = 0
    tokens: int = 0
    tokens_here: int = 0
    cached: int = 0
    latency_ms: float = 0.0
    slowest_ms: float = 0.0

    def add(self, row: UsageRow, *, here: bool) -> None:
        self.requests += row.requests
        self.errors += row.errors
        self.inputs += row.inputs
        self.tokens += row.tokens
        self.tokens_here += row.tokens if here else 0
        self.cached += row.cached
        self.latency_ms += row.latency_ms
        self.slowest_ms = max(self.slowest_ms, row.slowest_ms)

    @property
    def cells(self) -> Sequence[Cell]:
        return (
            self.requests,
            self.errors,
            self.inputs,
            self.tokens,
            self.cached,
            round(self.latency_ms / self.requests, 3) if self.requests else 0.0,
            round(self.slowest_ms, 3),
            round(prices.cost(self.tokens_here, prices.SMALL), 6),
            round(prices.cost(self.tokens_here, prices.LARGE), 6),
        )


def columns(by: Sequence[Group]) -> Sequence[Column]:
    """The columns of a report."""
    return (*(Column(group, group) for group in by), *SUMS)


def report(
    rows: Iterable[UsageRow],
    keys: Mapping[str, KeyRecord],
    by: Sequence[Group],
    is_here: Callable[[str], bool],
) -> Sequence[Sequence[Cell]]:
    """Add up rows, in the order of their groups.

    Args:
        rows: What was used.
        keys: The keys that there are, by digest.
        by: What to keep apart.
        is_here: Says of a model whether it is one of these machines; what others answered saves nothing, and
            neither does what answered nobody.
    """
    totals: dict[tuple[str, ...], _Total] = {}
    for row in rows:
        at = tuple(_NAMES[group](row, keys) for group in by)
        here = row.identity != SHADOW and is_here(row.model)
        totals.setdefault(at, _Total()).add(row, here=here)
    return [(*at, *totals[at].cells) for at in sorted(totals)]


def _key(row: UsageRow, keys: Mapping[str, KeyRecord]) -> str:
    if not row.key:
        return NOBODY
    key = keys.get(row.key)
    return f"{key.name} ({handle(key)})" if key else row.key[:STARTED]


def _owner(row: UsageRow, keys: Mapping[str, KeyRecord]) -> str:
    key = keys.get(row.key)
    return key.owner if key and key.owner else NOBODY


_NAMES: Mapping[Group, Callable[[UsageRow, Mapping[str, KeyRecord]], str]] = {
    "day": lambda row, _keys: row.day,
    "key": _key,
    "owner": _owner,
    "identity": lambda row, _keys: row.identity or NOBODY,
    "model": lambda row, _keys: row.model or NOBODY,
}
