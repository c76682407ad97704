"""What a model adds for a token's place: a vector for each place, and MPNet's bias for each distance.

The buckets are those of transformers' MPNetEncoder.relative_position_bucket (from T5; Raffel et al., 2019).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

FIRST_POSITION = {"bert": 0, "mpnet": 2}
"""MPNet numbers positions after its padding token, whose id is 1."""

BUCKETS, FARTHEST = 32, 128
"""How many buckets of distances there are, and the distance from which on all share the last one."""


def position_vectors(weights: Mapping[str, Tensor], family: str) -> Tensor:
    """Return the vector of each place, of shape [places, dimensions].

    BERT's first token type, which is every token's, is in it.
    """
    positions = weights["embeddings.position_embeddings.weight"][FIRST_POSITION[family] :]
    types = weights.get("embeddings.token_type_embeddings.weight")
    return positions if types is None else positions + types[0]


def relative_bias(weights: Mapping[str, Tensor]) -> Tensor:
    """Return MPNet's bias for every pair of places, of shape [1, heads, longest, longest]."""
    by_distance = distance_bias(weights)
    return pair_bias(by_distance, by_distance.shape[1] // 2 + 1)


def distance_bias(weights: Mapping[str, Tensor]) -> Tensor:
    """Return MPNet's bias for every distance between two places.

    Returns:
        Of shape [heads, 2 * longest - 1]; at [:, d + longest - 1] for a query d places behind its key.
    """
    longest = len(position_vectors(weights, "mpnet"))
    distance = torch.arange(1 - longest, longest)
    half, exact = BUCKETS // 2, BUCKETS // 4
    near = distance.abs()
    scale = (half - exact) / math.log(FARTHEST / exact)
    far = exact + ((near.clamp(min=1) / exact).log() * scale).long()
    bucket = torch.where(near < exact, near, far.clamp(max=half - 1)) + (distance < 0) * half
    return weights["encoder.relative_attention_bias.weight"][bucket].T.contiguous()


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
