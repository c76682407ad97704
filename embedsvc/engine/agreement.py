"""Whether an encoder of lower precision may be used: how far its vectors are from float32."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from embedsvc.engine.encoder import Encoder, normalized
from embedsvc.engine.tokenizer import load_tokenizer
from embedsvc.errors import ConfigurationError
from embedsvc.types import TokenSequence

LEAST_COSINE = 0.985
"""To float32, of any text; below it an encoder is refused."""

LENGTHS = (5, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 384, 512)
"""Tokens of the texts that are compared; short ones suffer most."""


def require_agreement(folder: Path, encoder: Encoder, reference: Encoder, longest: int) -> None:
    """Compare two encoders of a model over English prose.

    Args:
        folder: The model's files.
        encoder: In lower precision.
        reference: In float32.
        longest: Tokens of the longest text that the model reads.

    Raises:
        ConfigurationError: The least cosine is below `LEAST_COSINE`.
    """
    least = least_cosine(encoder, reference, texts(folder, longest))
    if not least >= LEAST_COSINE:  # not a number is refused as well
        raise ConfigurationError(
            f"engine.precision: int8 moves the vectors of {folder.name} to a cosine of {least:.3f} to "
            f'float32, and {LEAST_COSINE} is the least that is served: use "auto"'
        )


def least_cosine(encoder: Encoder, reference: Encoder, batch: Sequence[TokenSequence]) -> float:
    """Return the least cosine between two encoders' vectors of the same texts."""
    one, other = (normalized(each.encode(batch)) for each in (encoder, reference))
    return float(np.einsum("ij,ij->i", one, other).min())


def texts(folder: Path, longest: int) -> Sequence[TokenSequence]:
    """Return token ids of prose, one text for each length up to the longest; each begins elsewhere."""
    tokenizer = load_tokenizer(folder)
    tokenizer.no_padding()
    words = (files("embedsvc") / "data" / "prose.txt").read_text().split()
    batch = []
    for at, length in enumerate(sorted({min(length, longest) for length in LENGTHS})):
        start = at * 31
        tokenizer.enable_truncation(length)
        batch.append(tokenizer.encode(" ".join(words[start:] + words[:start])).ids)
    return batch
