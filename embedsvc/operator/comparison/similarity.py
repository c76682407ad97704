"""Cosine similarities of queries and documents, some queries at a time, and who is nearest."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from embedsvc.types import Vectors

Indices = NDArray[np.int64]
"""Of documents; shape [queries, k], the nearest first."""

BLOCK_BYTES = 8 * 2**20
"""Of the similarities that one side has in memory at once; ranking them takes twenty times as much."""

DIGITS = 6
"""Similarities that differ by less are level: float32 knows no more, and two equal documents must be."""


def scaled(vectors: Vectors) -> Vectors:
    """Vectors of length 1, in place. One without a direction stays zero, and is similar to nothing."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    return vectors


def blocks(queries: int, documents: int) -> Iterator[slice]:
    """Rows of queries, as many at a time as BLOCK_BYTES has room for, and at least one."""
    rows = max(1, BLOCK_BYTES // (documents * np.dtype(np.float32).itemsize))
    return (slice(at, min(at + rows, queries)) for at in range(0, queries, rows))


def similarities(queries: Vectors, documents: Vectors) -> Vectors:
    """Cosines, shape [queries, documents], of vectors that have length 1."""
    found: Vectors = np.round(queries @ documents.T, DIGITS)
    return found


def nearest(similar: Vectors, count: int) -> Indices:
    """The documents that are most similar to each query; of those that are level, the first."""
    order: Indices = np.argsort(-similar, axis=1, kind="stable")[:, :count]
    return order.copy()  # not a view that keeps the whole order alive
