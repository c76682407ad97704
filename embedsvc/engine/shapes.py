"""The few shapes that a GPU computes, and how a batch is laid out in one.

A CUDA graph is captured for a shape, so a batch takes the smallest shape that holds it. Rows behind its last
token belong to no text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from embedsvc.types import TokenSequence

STEP = 128
"""Every number of rows is a multiple: the tile of attention kernels, and of matrix products."""

GROWTH = 1.25
"""From one number of rows to the next: no more than a fifth of a full shape is empty, plus one step."""

TOKENS_A_TEXT = 8
"""Shapes have room for texts of this mean length; a batch of shorter ones takes a larger shape."""

SHORT = 128
"""Texts of no more tokens are one tile of attention: shapes for them launch a quarter of the tiles of 512."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a batch must fit into.

    Attributes:
        tokens: Rows.
        texts: Texts.
        longest: Tokens of one text.
    """

    tokens: int
    texts: int
    longest: int

    def holds(self, other: "Shape") -> bool:
        """Whether a batch of another shape fits."""
        return other.tokens <= self.tokens and other.texts <= self.texts and other.longest <= self.longest

    @property
    def numbers(self) -> int:
        """How many numbers describe a batch: see `lay_out`."""
        return self.tokens + self.texts + 1


def make_shapes(largest: Shape) -> list[Shape]:
    """List the shapes up to the largest batch, the smallest first."""
    return [
        Shape(tokens, _room(tokens, largest), longest)
        for tokens in _row_counts(largest.tokens)
        for longest in sorted({min(SHORT, largest.longest), min(tokens, largest.longest)})
    ]


def find_shape(shapes: Sequence[Shape], lengths: Sequence[int]) -> Shape:
    """Return the first shape that holds texts of these lengths; where none does, one made for them."""
    exact = Shape(_rounded(sum(lengths)), len(lengths), max(lengths))
    return next((shape for shape in shapes if shape.holds(exact)), exact)


def lay_out(batch: Sequence[TokenSequence], shape: Shape, numbers: NDArray[np.int32]) -> None:
    """Write what a GPU must know of a batch.

    Args:
        batch: Token ids of each text.
        shape: One that holds it.
        numbers: Written: int32 of shape [shape.numbers]; token ids one text after the other, then zeros; then
            where each text starts, and for texts that are not there, where the last one ends.
    """
    starts = list(accumulate(map(len, batch), initial=0))
    total = starts[-1]
    np.concatenate(batch, out=numbers[:total])  # of lists half as fast as np.fromiter, of arrays ten times
    numbers[total : shape.tokens] = 0
    numbers[shape.tokens : shape.tokens + len(starts)] = starts
    numbers[shape.tokens + len(starts) : shape.numbers] = total


def _row_counts(most: int) -> Iterator[int]:
    tokens = STEP
    while tokens < most:
        yield tokens
        tokens = _rounded(int(tokens * GROWTH))
    yield _rounded(most)


def _room(tokens: int, largest: Shape) -> int:
    """How many texts a shape of so many rows has room for."""
    return largest.texts if tokens >= largest.tokens else min(largest.texts, tokens // TOKENS_A_TEXT)


def _rounded(tokens: int) -> int:
    """Up to a whole number of steps."""
    return -(-tokens // STEP) * STEP
