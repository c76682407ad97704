"""A sample of similarities, as both sides have them: their scales differ, which every threshold hangs on."""

from dataclasses import dataclass

import numpy as np

from embedsvc.operator.comparison.agreement import Numbers, Space
from embedsvc.operator.comparison.similarity import Indices

SAMPLE = 600
"""Pairs of each kind: enough to see, and few enough for a page."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Cosines of queries and documents.

    Attributes:
        chance: Shape [2, pairs], of the two sides: any query with any document.
        near: The same: a query with a document that either side has among its ten nearest.
    """

    chance: Numbers
    near: Numbers


def sample(one: Space, other: Space, nearest: tuple[Indices, Indices]) -> Pairs:
    """Draw pairs, the same ones for the same numbers of texts."""
    random = np.random.default_rng(0)
    queries = random.integers(len(one.queries), size=2 * SAMPLE)
    anywhere = random.integers(len(one.documents), size=SAMPLE)
    either = np.concatenate(nearest, axis=1)
    close = either[queries[SAMPLE:], random.integers(either.shape[1], size=SAMPLE)]
    chance, near = (
        np.stack([_cosines(side, asked, found) for side in (one, other)])
        for asked, found in ((queries[:SAMPLE], anywhere), (queries[SAMPLE:], close))
    )
    return Pairs(chance, near)


def _cosines(side: Space, queries: Indices, documents: Indices) -> Numbers:
    found: Numbers = np.einsum("ij,ij->i", side.queries[queries], side.documents[documents]).astype(float)
    return found
