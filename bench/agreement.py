"""The check before anything is timed: every way and every encoder must give the reference's vectors."""

import numpy as np
import numpy.typing as npt
from texts import Passages
from ways import Vectors

LENGTHS = (8, 16, 64, 200, 300, 512)
"""Of the novel's passages in the sample."""

SAMPLE = ("Hello, world", "Füße, 東京 and 🦊", "word " * 700)
LEAST_COSINE = 0.9999


def sample(passages: Passages) -> list[str]:
    """Texts of every length, a strange one, and one that is too long."""
    return [*SAMPLE, *(passages.cut(length).text for length in LENGTHS)]


def least_cosine(vectors: Vectors, reference: Vectors) -> float:
    """The least cosine between two vectors of the same text; NaN for vectors of another shape.

    Args:
        vectors: Float32 of shape [texts, dimensions].
        reference: The same, of the same texts.
    """
    if vectors.shape != reference.shape:
        return float("nan")
    one, other = (_unit(some.astype(np.float64)) for some in (vectors, reference))
    return float(np.einsum("td,td->t", one, other).min())


def refusal(cosine: float, least: float) -> str | None:
    """Why figures of something with such vectors would mean nothing; None where they mean something."""
    if cosine >= least:  # false for NaN
        return None
    return f"refused: cosine {cosine:.4f} to sentence-transformers, and {least} is the least"


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    unit: npt.NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
