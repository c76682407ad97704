"""What rounds with a store that is well and one that hangs come to."""

from collections.abc import Sequence
from dataclasses import dataclass

from figures import Figures, Spread, ratio

WELL, HUNG = "well", "hung"
MOST_RATIO, LONGEST_GAP = 1.1, 0.05


@dataclass(frozen=True, slots=True)
class Round:
    """One round.

    Attributes:
        number: Counted from 1.
        encoder: The server's.
        convex: How Convex is.
        figures: What callers saw.
        longest_gap: Of the server's event loop, in seconds.
        gaps: How many were longer than `LONGEST_GAP`.
    """

    number: int
    encoder: str
    convex: str
    figures: Figures
    longest_gap: float
    gaps: int


def holds(rounds: Sequence[Round]) -> bool:
    """Whether p99 stayed, no call failed, and the event loop was never held up for long."""
    failures = sum(one.figures.metric("failures") for one in rounds)
    long = any(one.longest_gap > LONGEST_GAP for one in rounds if one.convex == HUNG)
    return ratio_of(rounds, "p99").median <= MOST_RATIO and not failures and not long


def ratio_of(rounds: Sequence[Round], metric: str) -> Spread:
    """A metric of the rounds with a store that hangs, beside those with one that is well."""
    return ratio(values_of(rounds, HUNG, metric), values_of(rounds, WELL, metric))


def values_of(rounds: Sequence[Round], convex: str, metric: str) -> list[float]:
    """A metric of the rounds of one kind, in their order."""
    return [one.figures.metric(metric) for one in rounds if one.convex == convex]
