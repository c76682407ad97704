"""What the service is held to on a CPU, beside what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import plan
from figures import Spread, ratio, spread
from report import Run


@dataclass(frozen=True, slots=True)
class Side:
    """A figure of the best of some that did the same.

    Attributes:
        scenario: What was asked.
        subjects: What may have answered.
        metric: See `Figures.metric`; of milliseconds the least is best, else the most.
    """

    scenario: str
    subjects: Sequence[str]
    metric: str

    def rounds(self, run: Run) -> dict[int, float]:
        """The figure of the best subject by round; empty where one of them misses a round."""
        found = [run.rounds(self.scenario, subject, self.metric) for subject in self.subjects]
        if any(len(rounds) < run.count for rounds in found):
            return {}
        best = min if self.metric.startswith("p") else max
        return best(found, key=lambda one: spread([*one.values()]).median)


@dataclass(frozen=True, slots=True)
class Goal:
    """What must be.

    Attributes:
        claim: In words.
        over: What is measured.
        bound: What it must reach.
        under: What it is divided by; None: nothing.
        at_most: Whether it must stay below the bound instead.
    """

    claim: str
    over: Side
    bound: float
    under: Side | None = None
    at_most: bool = False

    def measure(self, run: Run) -> Spread | None:
        """The figure or the ratio over the rounds; None where something for it was not measured."""
        over = self.over.rounds(run)
        under = dict.fromkeys(over, 1.0) if self.under is None else self.under.rounds(run)
        both = sorted(over.keys() & under.keys())
        return ratio([over[at] for at in both], [under[at] for at in both]) if both else None

    def held(self, measured: Spread) -> bool:
        """Whether the median is good enough."""
        return measured.median <= self.bound if self.at_most else measured.median >= self.bound


OWN = (plan.PACKED,)
INFINITY = (plan.INFINITY_TORCH, plan.INFINITY_ONNX)


def _raw(claim: str, other: str, bound: float) -> Goal:
    metric = "tokens/s"
    return Goal(claim, Side(plan.RAW_MIXED, OWN, metric), bound, Side(plan.RAW_MIXED, (other,), metric))


def _served(way: str, bound: float) -> Goal:
    return Goal(
        f"{way}, batches of 32 with 16 callers: of the raw encoder's tokens/s",
        Side(plan.BATCHES, (way,), "tokens/s"),
        bound,
        Side(plan.RAW_SHORT, OWN, "tokens/s"),
    )


def _beside(way: str, scenario: str, others: Sequence[str], bound: float) -> Goal:
    return Goal(
        f"{way}, {scenario}: requests/s beside {_name(others)}",
        Side(scenario, (way,), "requests/s"),
        bound,
        Side(scenario, others, "requests/s"),
    )


def _p99(way: str, scenario: str) -> Goal:
    return Goal(
        f"{way}, {scenario}: p99 beside {_name(INFINITY)}",
        Side(scenario, (way,), "p99"),
        1.0,
        Side(scenario, INFINITY, "p99"),
        at_most=True,
    )


def _name(others: Sequence[str]) -> str:
    return others[0] if len(others) == 1 else "Infinity's best engine"


BESIDE_INFINITY = {plan.ONE: 2.5, plan.MANY: 1.9, plan.SIXTEEN_MIXED: 2.2, plan.BATCHES: 1.25}

GOALS = (
    _raw("raw, mixed lengths: tokens/s beside sentence-transformers, sorted", plan.SORTED, 2.2),
    _raw("raw, mixed lengths: tokens/s beside sentence-transformers, in order of arrival", plan.ARRIVAL, 5.0),
    Goal(
        "raw, one text of 16 tokens: time beside sentence-transformers",
        Side(plan.ONE_TEXT, OWN, "p50"),
        0.30,
        Side(plan.ONE_TEXT, (plan.SORTED,), "p50"),
        at_most=True,
    ),
    _served(plan.GRPC, 0.9),
    _served(plan.REST_BASE64, 0.85),
    *(
        goal
        for way in (plan.GRPC, plan.REST_BASE64)
        for scenario, bound in BESIDE_INFINITY.items()
        for goal in (_beside(way, scenario, INFINITY, bound), _p99(way, scenario))
    ),
    *(_beside(way, plan.MANY, (plan.FASTAPI,), 13) for way in (plan.GRPC, plan.REST_BASE64)),
    Goal(
        "null encoder: calls a second and core", Side(plan.NULL_UNARY, (plan.NULL,), "requests/core"), 2_000
    ),
    Goal(
        "null encoder, 64 texts a call: vectors a second and core",
        Side(plan.NULL_BATCHES, (plan.NULL,), "texts/core"),
        80_000,
    ),
)
