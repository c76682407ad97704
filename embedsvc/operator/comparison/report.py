"""All that is told of two sides, and the rows of its table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from embedsvc.operator.comparison.agreement import DEPTHS, Agreement
from embedsvc.operator.comparison.costs import Price
from embedsvc.operator.comparison.measuring import Measured
from embedsvc.operator.comparison.relevance import Relevance
from embedsvc.operator.shown import Cell, Column

PERCENT = 100
MILLISECONDS = 1000
FLOAT32_BYTES = 4
MILLION = 1_000_000
GIGABYTE = 1_000_000_000
LOW = 5
"""The percentile that tells of the queries that agree least."""

LATENCIES = (50, 95)
"""Percentiles."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        measure: What it is.
        one: Of the one side.
        other: Of the other.
        both: What only the two together have.
    """

    measure: str
    one: Cell = None
    other: Cell = None
    both: Cell = None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Those of COLUMNS."""
        return self.measure, self.one, self.other, self.both


COLUMNS = (
    Column("", "measure"),
    Column("A", "a", number=True),
    Column("B", "b", number=True),
    Column("both", "both", number=True),
)


@dataclass(frozen=True, slots=True)
class Report:
    """Two sides, compared.

    Attributes:
        measured: The sides and their texts.
        agreement: What they have in common.
        prices: What each costs.
        relevance: How well each finds what is known to be relevant; None where nothing is known.
    """

    measured: Measured
    agreement: Agreement
    prices: tuple[Price, Price]
    relevance: tuple[Relevance, Relevance] | None = None

    @property
    def models(self) -> tuple[str, str]:
        """The names of the sides."""
        one, other = self.measured.sides
        return one.model, other.model


def rows(report: Report) -> Sequence[Row]:
    """The numbers of a report, in the order in which they are read."""
    return [*_texts(report), *_agreement(report), *_relevance(report), *_speed(report), *_costs(report)]


def _texts(report: Report) -> Iterator[Row]:
    corpus = report.measured.corpus
    yield Row("model", *report.models)
    yield Row("dimensions", *(side.space.dimensions for side in report.measured.sides))
    yield Row("queries", both=len(corpus.queries))
    yield Row("documents", both=len(corpus.documents))
    if report.measured.refused:
        yield Row("texts left out", both=len(report.measured.refused))


def _agreement(report: Report) -> Iterator[Row]:
    found = report.agreement
    for at, depth in enumerate(DEPTHS):
        yield Row(f"overlap at {depth}, %", both=_percent(found.overlap[:, at].mean()))
    chance = max(DEPTHS) / len(report.measured.corpus.documents)
    yield Row(f"overlap at {max(DEPTHS)} by chance, %", both=_percent(chance))
    yield Row("rank correlation, mean", both=_rounded(found.correlation.mean()))
    yield Row(f"rank correlation, {LOW}th percentile", both=_rounded(np.percentile(found.correlation, LOW)))


def _relevance(report: Report) -> Iterator[Row]:
    if report.relevance is None:
        return
    for at, depth in enumerate(DEPTHS):
        recalls = (side.recall[:, at].mean() for side in report.relevance)
        yield Row(f"recall at {depth}, %", *map(_percent, recalls))
    yield Row("nDCG at 10, %", *(_percent(side.gain.mean()) for side in report.relevance))
    yield Row("queries with known answers", both=len(report.measured.corpus.relevant))


def _speed(report: Report) -> Iterator[Row]:
    sides, corpus = report.measured.sides, report.measured.corpus
    for at in LATENCIES:
        times = (np.percentile(side.query_seconds, at) * MILLISECONDS for side in sides)
        yield Row(f"one query, p{at} ms", *map(_rounded, times))
    pace = (len(corpus.documents) / side.document_seconds for side in sides)
    yield Row("documents/s, one caller", *map(_rounded, pace))


def _costs(report: Report) -> Iterator[Row]:
    sides, prices = report.measured.sides, report.prices
    yield Row("tokens of the documents", *(side.tokens for side in sides))
    yield Row("US$ a million tokens", *(_money(price.million_tokens) for price in prices))
    yield Row("US$ a million documents", *(_money(price.million_documents) for price in prices))
    sizes = (side.space.dimensions * FLOAT32_BYTES * MILLION / GIGABYTE for side in sides)
    yield Row("GB a million vectors, float32", *map(_rounded, sizes))


def _percent(share: float) -> float:
    return round(float(share) * PERCENT, 2)


def _rounded(number: float) -> float:
    return round(float(number), 4)


def _money(usd: float | None) -> float | None:
    return None if usd is None else round(usd, 6)
