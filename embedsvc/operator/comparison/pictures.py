"""The pictures of a report, and what is to be seen on them, in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from embedsvc.operator.comparison import plots
from embedsvc.operator.comparison.agreement import DEPTHS, Agreement
from embedsvc.operator.comparison.measuring import Side
from embedsvc.operator.comparison.pairs import Pairs, sample
from embedsvc.operator.comparison.relevance import Relevance
from embedsvc.operator.comparison.report import LATENCIES, LOW, MILLISECONDS, PERCENT, Report

SIDES = ("A", "B")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and what it says.

    Attributes:
        name: What it is of: the page has its title and how to read it.
        says: What is to be seen, in words.
        drawn: The picture, an `<svg>` element.
    """

    name: str
    says: str
    drawn: str

    @property
    def svg(self) -> Markup:
        """The picture, to be put into a page as it is."""
        return Markup(self.drawn)  # noqa: S704 - drawn from numbers: no text and no name is in it


def pictures(report: Report) -> Iterator[Picture]:
    """Draw a report."""
    one, other = report.measured.sides
    yield _overlap(report.agreement, len(report.measured.corpus.documents))
    yield _correlation(report.agreement)
    if report.relevance is not None:
        yield _relevance(report.relevance)
    yield _latency(report.measured.sides)
    yield _similarities(sample(one.space, other.space, report.agreement.nearest))


def _overlap(agreement: Agreement, documents: int) -> Picture:
    means = zip(DEPTHS, agreement.overlap.mean(axis=0) * PERCENT, strict=True)
    said = ", ".join(f"{mean:.0f} % at {k}" for k, mean in means)
    drawn = plots.overlap(agreement, documents)
    return Picture("overlap", f"Shared of the nearest documents: {said}.", drawn)


def _correlation(agreement: Agreement) -> Picture:
    mean, low = agreement.correlation.mean(), np.percentile(agreement.correlation, LOW)
    said = f"Rank correlation: {mean:.2f} on average, {low:.2f} at the {LOW}th percentile."
    return Picture("correlation", said, plots.correlation(agreement))


def _relevance(found: Sequence[Relevance]) -> Picture:
    gains = (f"{name} {side.gain.mean() * PERCENT:.0f} %" for name, side in zip(SIDES, found, strict=True))
    return Picture("relevance", f"nDCG at {max(DEPTHS)}: {', '.join(gains)}.", plots.relevance(found))


def _latency(sides: Sequence[Side]) -> Picture:
    said = (
        f"{name}: {middle:.1f} ms in the middle, {slow:.1f} ms at the 95th percentile"
        for name, (middle, slow) in zip(SIDES, map(_percentiles, sides), strict=True)
    )
    return Picture("latency", f"{'; '.join(said)}.", plots.latency(sides))


def _percentiles(side: Side) -> Sequence[float]:
    return [float(at) for at in np.percentile(side.query_seconds, LATENCIES) * MILLISECONDS]


def _similarities(pairs: Pairs) -> Picture:
    ranges = np.percentile(pairs.near, (5, 95), axis=1).T
    said = (f"{name} from {low:.2f} to {high:.2f}" for name, (low, high) in zip(SIDES, ranges, strict=True))
    says = f"Cosines of near documents, from the 5th to the 95th percentile: {', '.join(said)}."
    return Picture("similarities", says, plots.similarities(pairs))
