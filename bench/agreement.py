"""The check before anything is timed: every way must give the same vectors."""

from collections.abc import Mapping

import numpy as np
from ways import Way

SAMPLE = ("Hello, world", "The quick brown fox jumps over the lazy dog.", "Füße, 東京 and 🦊", "word " * 700)
DIMENSIONS = 384
LEAST_COSINE = 0.9999


async def check(ways: Mapping[str, Way]) -> float:
    """Embed a few texts in every way; return the least cosine between any two ways.

    Raises:
        RuntimeError: A vector has the wrong length, or two ways do not agree.
    """
    vectors = {name: [await way(0, text) for text in SAMPLE] for name, way in ways.items()}
    for name, found in vectors.items():
        if any(vector.shape != (DIMENSIONS,) for vector in found):
            raise RuntimeError(f"{name} answers vectors of {[vector.shape for vector in found]}")
    stacked = np.array(list(vectors.values()), dtype=np.float64)
    unit = stacked / np.linalg.norm(stacked, axis=2, keepdims=True)
    cosines = np.einsum("atd,btd->abt", unit, unit)
    least = float(cosines.min())
    if not least >= LEAST_COSINE:  # so that NaN is caught too
        raise RuntimeError(f"{', '.join(ways)} do not agree; their cosines are, text by text:\n{cosines}")
    return least
