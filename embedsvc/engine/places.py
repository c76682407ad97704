"""Where each token of a packed batch belongs, found on the device from nothing but where texts start."""

from typing import NamedTuple

import torch
from torch import Tensor

TILE = 128
"""Rows of a block of FlexAttention's mask."""


class Places(NamedTuple):
    """What the rows of a batch are.

    A row behind the last text's is a text of its own: it attends to itself alone, and is never read.

    Attributes:
        starts: int32 [texts + 1], the first row of each text; the last number is where all end.
        first: int32 [rows], the first row of each row's text.
        end: int32 [rows], the row behind the last of each row's text.
        longest: Tokens of a text, at most.
    """

    starts: Tensor
    first: Tensor
    end: Tensor
    longest: int

    @property
    def positions(self) -> Tensor:
        """int32 [rows], each row's place in its text, from 0."""
        return _rows(self.first) - self.first


class Blocks(NamedTuple):
    """Which tiles of keys each tile of queries meets, as FlexAttention wants to know it.

    Attributes:
        counts: int32 [1, 1, tiles], how many.
        indices: int32 [1, 1, tiles, tiles], which; those behind the count are not looked at.
    """

    counts: Tensor
    indices: Tensor


def find_places(starts: Tensor, rows: int, longest: int) -> Places:
    """Find every row's text. Waits for nothing, so that a CUDA graph can hold it.

    Args:
        starts: See `Places.starts`.
        rows: How many, tokens of texts or not.
        longest: See `Places.longest`.
    """
    row = torch.arange(rows, dtype=starts.dtype, device=starts.device)
    text = (torch.searchsorted(starts, row, right=True) - 1).clamp(max=len(starts) - 2)
    real = row < starts[-1]
    return Places(
        starts=starts,
        first=torch.where(real, starts[text], row),
        end=torch.where(real, starts[text + 1], row + 1),
        longest=longest,
    )


def find_blocks(places: Places) -> Blocks:
    """Find the tiles that attention cannot leave out: texts lie in order, so they are neighbours.

    Args:
        places: Of a whole number of tiles.
    """
    nearest = places.first[::TILE] // TILE
    farthest = (places.end[TILE - 1 :: TILE] - 1) // TILE
    each = torch.arange(len(nearest), dtype=nearest.dtype, device=nearest.device)
    indices = (nearest[:, None] + each).clamp(max=len(nearest) - 1)
    return Blocks((farthest - nearest + 1)[None, None], indices[None, None])


def _rows(like: Tensor) -> Tensor:
    return torch.arange(len(like), dtype=like.dtype, device=like.device)
