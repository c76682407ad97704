"""How far two sides find the same: pure numbers over each side's own cosine similarities.

The vectors of two models have nothing to do with each other, and often not even the same length. What can be
compared is the order into which each side puts the documents for a query.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from embedsvc.operator.comparison.similarity import Indices, blocks, nearest, similarities
from embedsvc.types import Vectors

Numbers = NDArray[np.float64]

DEPTHS = (1, 5, 10)
"""How many of the nearest documents count."""


@dataclass(frozen=True, slots=True)
class Space:
    """The vectors of one side, of length 1.

    Attributes:
        queries: Shape [queries, dimensions].
        documents: Shape [documents, dimensions].
    """

    queries: Vectors
    documents: Vectors

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        return int(self.documents.shape[1])


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two sides have in common, query by query.

    Attributes:
        nearest: For each side, the ten nearest documents of each query.
        overlap: Shape [queries, 3], at each of DEPTHS; see `overlap`.
        correlation: Shape [queries]; see `rank_correlation`.
    """

    nearest: tuple[Indices, Indices]
    overlap: Numbers
    correlation: Numbers


def agree(one: Space, other: Space, advance: Callable[[int], object] = lambda _queries: None) -> Agreement:
    """Compare two sides.

    Args:
        one: The vectors of one.
        other: Those of the other, for the same texts in the same order.
        advance: Told how many more queries are done.
    """
    parts = []
    for rows in blocks(len(one.queries), len(one.documents)):
        parts.append(_agree(*(similarities(side.queries[rows], side.documents) for side in (one, other))))
        advance(rows.stop - rows.start)
    found_one, found_other, correlation = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Agreement((found_one, found_other), overlaps(found_one, found_other), correlation)


def _agree(one: Vectors, other: Vectors) -> tuple[Indices, Indices, Numbers]:
    depth = max(DEPTHS)
    return nearest(one, depth), nearest(other, depth), rank_correlation(one, other)


def overlaps(one: Indices, other: Indices) -> Numbers:
    """For each query and each k of DEPTHS, the share of the k nearest that both sides have: |A ∩ B| / k.

    The order among the k does not count. Of two orders by chance it is k / documents. W. Webber, A. Moffat,
    J. Zobel, "A similarity measure for indefinite rankings", ACM TOIS 28(4), 2010, who call it agreement at
    depth k.
    """
    shares = [(one[:, :k, None] == other[:, None, :k]).sum(axis=(1, 2)) / k for k in DEPTHS]
    return np.stack(shares, axis=1)


def rank_correlation(one: Vectors, other: Vectors) -> Numbers:
    """Spearman's correlation for each query: Pearson's, of the ranks that each side gives to all documents.

    1: the same order; 0: nothing in common; -1: the reverse. Documents that are level share the mean of their
    ranks. A side to which all are level says nothing, which counts as 0. C. Spearman, "The Proof and
    Measurement of Association between Two Things", American Journal of Psychology 15(1), 1904; as
    scipy.stats.spearmanr.
    """
    ranks, others = (_centred(stats.rankdata(similar, axis=1)) for similar in (one, other))
    spread = np.sqrt((ranks**2).sum(axis=1) * (others**2).sum(axis=1))
    found: Numbers = np.divide((ranks * others).sum(axis=1), spread, out=np.zeros(len(one)), where=spread > 0)
    return found


def _centred(ranks: Numbers) -> Numbers:
    centred: Numbers = ranks - ranks.mean(axis=1, keepdims=True)
    return centred
