"""How texts of any lengths lie in one tensor without padding, and how attention finds them there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from embedsvc.types import TokenSequence

FEWEST_ROWS, FINENESS = 4, 5
"""Rows are multiples of the first, and of a power of two that leaves no more than so many leading bits."""

SLACK = 4
"""Texts whose lengths differ by no more than this share one call of attention, padded for it alone."""


@dataclass(frozen=True, slots=True)
class Group:
    """Texts of like length, next to each other.

    Attributes:
        rows: Where their tokens are.
        shape: Texts, and the longest one's tokens.
        gather: For each place of a padded [texts, longest], the row of its token; None where all
            texts are of one length, so that the rows are that shape already.
        real: Which of those places hold a token, of shape [texts, longest].
    """

    rows: slice
    shape: tuple[int, int]
    gather: Tensor | None = None
    real: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch, sorted by length.

    Attributes:
        ids: Token ids, one text after the other, then rows that belong to none (`round_up`).
        positions: The place of each token in its text, from 0.
        lengths: Tokens of each text.
        order: Which text of the batch each one is.
        groups: The texts, as attention takes them.
    """

    ids: Tensor
    positions: Tensor
    lengths: Tensor
    order: Sequence[int]
    groups: Sequence[Group]


def pack(batch: Sequence[TokenSequence]) -> Packed:
    """Lay out a batch."""
    order = sorted(range(len(batch)), key=lambda at: len(batch[at]))
    lengths = [len(batch[at]) for at in order]
    tokens = sum(lengths)
    nobody = np.zeros(round_up(tokens) - tokens, dtype=np.int64)
    return Packed(
        ids=torch.from_numpy(np.concatenate([*(np.asarray(batch[at]) for at in order), nobody])),
        positions=torch.from_numpy(np.concatenate([*(np.arange(length) for length in lengths), nobody])),
        lengths=torch.tensor(lengths),
        order=order,
        groups=list(group_lengths(lengths)),
    )


def round_up(tokens: int) -> int:
    """Rows for so many tokens: a sixteenth more at most, from 64 on.

    oneDNN makes and keeps a kernel for every number of rows that it meets: of few numbers it makes few.
    """
    step = max(FEWEST_ROWS, 1 << max(0, tokens.bit_length() - FINENESS))
    return -(-tokens // step) * step


def group_lengths(lengths: Sequence[int]) -> Iterator[Group]:
    """Cut ascending lengths into runs that differ by no more than the slack."""
    first = row = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or lengths[end] > lengths[first] + SLACK:
            run = lengths[first:end]
            yield _make_group(run, row)
            row += sum(run)
            first = end


def _make_group(lengths: Sequence[int], start: int) -> Group:
    rows, shape = slice(start, start + sum(lengths)), (len(lengths), lengths[-1])
    if lengths[0] == lengths[-1]:
        return Group(rows, shape)
    starts = start + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    place = np.arange(lengths[-1])
    real = place < np.asarray(lengths)[:, None]
    gather = np.where(real, starts[:, None] + place, start)
    return Group(rows, shape, torch.from_numpy(gather), torch.from_numpy(real))
