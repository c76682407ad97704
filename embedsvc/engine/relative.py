"""MPNet's relative positions: what attention adds to the score of two tokens for the distance between them.

The buckets are those of transformers' MPNetEncoder.relative_position_bucket (from T5; Raffel et al., 2019).
"""

import math

import torch
from torch import Tensor

BUCKETS, FARTHEST = 32, 128
"""How many buckets there are, and the distance from which on all share the last one."""


def distance_bias(weights: Tensor, longest: int) -> Tensor:
    """Return the bias of every distance between two of `longest` places.

    Args:
        weights: Float32 of shape [buckets, heads]: the model's table.
        longest: Places.

    Returns:
        Float32 of shape [heads, 2 * longest - 1]; at [:, d + longest - 1] for a query d places behind
        its key.
    """
    distance = torch.arange(1 - longest, longest)
    half, exact = BUCKETS // 2, BUCKETS // 4
    near = distance.abs()
    scale = (half - exact) / math.log(FARTHEST / exact)
    far = exact + ((near.clamp(min=1) / exact).log() * scale).long()
    bucket = torch.where(near < exact, near, far.clamp(max=half - 1)) + (distance < 0) * half
    return weights[bucket].T.contiguous()


def pair_bias(by_distance: Tensor, longest: int) -> Tensor:
    """Return the bias of every pair of the first places.

    Args:
        by_distance: See `distance_bias`.
        longest: Places, no more than it was made for.

    Returns:
        Of its type, of shape [1, heads, longest, longest]: queries, then keys.
    """
    places = torch.arange(longest, device=by_distance.device)
    middle = by_distance.shape[1] // 2
    return by_distance[:, places[:, None] - places + middle][None]
