"""Which side finds what is known to answer a query. Overlap says that sides differ; this, which is better."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from embedsvc.operator.comparison.agreement import DEPTHS, Numbers
from embedsvc.operator.comparison.similarity import Indices


@dataclass(frozen=True, slots=True)
class Relevance:
    """How well one side finds what is relevant, query by query, over those of which it is known.

    Attributes:
        recall: Shape [judged queries, 3], at each of DEPTHS; see `judge`.
        gain: Shape [judged queries], nDCG at 10; see `judge`.
    """

    recall: Numbers
    gain: Numbers


def judge(found: Indices, relevant: Mapping[int, frozenset[int]]) -> Relevance:
    """Set what a side finds against what is known to be relevant.

    Recall at k is the share of a query's relevant documents that are among its k nearest. nDCG at 10 is the
    sum of 1 / log2(1 + rank) over relevant documents among the ten nearest, over what it would be were they
    the first. K. Järvelin, J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4),
    2002, in the form of trec_eval, which BEIR reports.

    Args:
        found: The nearest documents of all queries.
        relevant: Relevant documents by query; none of them empty.
    """
    hits = np.array([[document in relevant[at] for document in found[at]] for at in relevant])
    counts = np.array([len(relevant[at]) for at in relevant])
    recall = np.stack([hits[:, :k].sum(axis=1) / counts for k in DEPTHS], axis=1)
    gains = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.cumsum(gains)[np.minimum(counts, len(gains)) - 1]
    return Relevance(recall, hits @ gains / ideal)
