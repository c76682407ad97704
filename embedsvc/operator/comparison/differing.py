"""The queries on which two sides differ most, with what each finds: numbers do not show which is right."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embedsvc.operator.comparison.agreement import Agreement
from embedsvc.operator.comparison.corpus import Corpus

MOST = 8
"""Queries."""

FOUND = 5
"""Documents that are shown of each side."""

LONG = 280
"""Characters that are shown of a text."""


@dataclass(frozen=True, slots=True)
class Found:
    """A document that a side has among the nearest.

    Attributes:
        text: Its beginning.
        place: Where it is written.
        elsewhere: Its rank on the other side, from 1; None where it is not among the ten nearest there.
        relevant: Whether it is known to answer the query.
    """

    text: str
    place: str
    elsewhere: int | None
    relevant: bool


@dataclass(frozen=True, slots=True)
class Differing:
    """A query on which sides differ.

    Attributes:
        text: Its beginning.
        shared: How many of the ten nearest documents both have.
        correlation: The rank correlation.
        found: What each side has nearest, the nearest first.
    """

    text: str
    shared: int
    correlation: float
    found: tuple[Sequence[Found], Sequence[Found]]


def differing(corpus: Corpus, agreement: Agreement) -> Iterator[Differing]:
    """Find those queries, the one with the least in common first."""
    tens = agreement.overlap[:, -1]
    depth = agreement.nearest[0].shape[1]
    for query in np.lexsort((agreement.correlation, tens))[:MOST].tolist():
        if tens[query] == 1:  # both have the same ten, and so have all that follow
            return
        one, other = (side[query].tolist() for side in agreement.nearest)
        yield Differing(
            shortened(corpus.queries[query].text),
            round(tens[query] * depth),
            float(agreement.correlation[query]),
            (_found(corpus, query, one, other), _found(corpus, query, other, one)),
        )


def _found(corpus: Corpus, query: int, these: Sequence[int], those: Sequence[int]) -> Sequence[Found]:
    ranks: Mapping[int, int] = {document: rank for rank, document in enumerate(those, start=1)}
    relevant = corpus.relevant.get(query, frozenset())
    return [
        Found(shortened(text.text), text.place, ranks.get(at), at in relevant)
        for at, text in ((at, corpus.documents[at]) for at in these[:FOUND])
    ]


def shortened(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= LONG else f"{line[: LONG - 1].rstrip()}…"
