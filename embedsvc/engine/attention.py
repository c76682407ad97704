"""Attention over a packed batch on a GPU: every text sees itself, and nothing else.

Three ways. `varlen` and `flex` know a batch from tensors on the device alone, so that a CUDA graph can hold
them; `grouped` must know its lengths on the host, and computes everywhere.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

from embedsvc.engine.packing import Group, group_lengths
from embedsvc.engine.places import TILE, Blocks, Places, find_blocks
from embedsvc.engine.positions import pair_bias

Attend = Callable[[Tensor, Tensor, Tensor, Any], Tensor]
"""Queries, keys and values, [rows, heads, head], and what `Attention.prepare` found; the same shape."""


@dataclass(frozen=True, slots=True)
class Attention:
    """One of the ways.

    Attributes:
        attend: What every layer calls.
        prepare: What is found once a batch, for all layers: from places, and the lengths of its texts,
            ascending, which only `grouped` reads.
        static: Whether lengths are not needed on the host.
    """

    attend: Attend
    prepare: Callable[[Places, Sequence[int]], Any]
    static: bool


class FlexInput(NamedTuple):
    """What `flex` reads: see `Places`, `Blocks` and `positions.distance_bias`."""

    first: Tensor
    end: Tensor
    blocks: Blocks
    bias: Tensor


class GroupInput(NamedTuple):
    """A `packing.Group` on the device.

    Attributes:
        rows: Where its tokens are.
        shape: Texts, and the longest one's tokens.
        gather: For each place of the padded texts, its row; None where they are not padded.
        inside: Those of the places that hold a token; None where all do.
        mask: What is added to scores, or where keys are; None for nothing.
    """

    rows: slice
    shape: tuple[int, int]
    gather: Tensor | None
    inside: Tensor | None
    mask: Tensor | None


def varlen() -> Attention:
    """FlashAttention: float16 and bfloat16, heads of a multiple of 8 up to 256, no bias.

    Rows behind the last text's are left as memory was.
    """
    return Attention(_varlen, lambda places, _: places, static=True)


def flex(bias: Tensor) -> Attention:
    """FlexAttention with a bias by distance (`positions.distance_bias`). Slow where it is not compiled."""
    return Attention(
        _flex,
        lambda places, _: FlexInput(places.first, places.end, find_blocks(places), bias),
        static=True,
    )


def grouped(bias: Tensor | None) -> Attention:
    """Texts of like length together, padded for attention alone; in any precision, on any device."""
    return Attention(
        _grouped,
        lambda places, lengths: [
            _find_group(group, bias, places.starts.device) for group in group_lengths(lengths)
        ],
        static=False,
    )


def _varlen(query: Tensor, key: Tensor, value: Tensor, places: Places) -> Tensor:
    starts, longest = places.starts, places.longest
    attended = varlen_attn(query, key, value, starts, starts, longest, longest)
    return cast("Tensor", attended)  # a pair only where more is asked for


def _flex(query: Tensor, key: Tensor, value: Tensor, known: FlexInput) -> Tensor:
    first, end, blocks, bias = known
    farthest = bias.shape[1] // 2

    def of_one_text(_batch: Tensor, _head: Tensor, at: Tensor, other: Tensor) -> Tensor:
        return (other >= first[at]) & (other < end[at])

    def biased(score: Tensor, _batch: Tensor, head: Tensor, at: Tensor, other: Tensor) -> Tensor:
        distance = (at - other).clamp(-farthest, farthest)  # farther apart, they are of two texts
        return score + bias[head, distance + farthest]

    rows = len(query)
    mask = BlockMask.from_kv_blocks(
        *blocks, BLOCK_SIZE=TILE, mask_mod=of_one_text, seq_lengths=(rows, rows), compute_q_blocks=False
    )
    query, key, value = (part.transpose(0, 1)[None] for part in (query, key, value))
    return flex_attention(query, key, value, score_mod=biased, block_mask=mask)[0].transpose(0, 1)


def _grouped(query: Tensor, key: Tensor, value: Tensor, known: Sequence[GroupInput]) -> Tensor:
    attended = torch.zeros(query.shape, dtype=query.dtype, device=query.device)
    for group in known:
        queries, keys, values = (_pad(part, group) for part in (query, key, value))
        padded = scaled_dot_product_attention(queries, keys, values, group.mask).transpose(1, 2).flatten(0, 1)
        attended[group.rows] = padded if group.inside is None else padded[group.inside]
    return attended


def _pad(part: Tensor, group: GroupInput) -> Tensor:
    """[rows, heads, head] of a batch to [texts, heads, longest, head] of a group."""
    rows = part[group.rows] if group.gather is None else part[group.gather]
    return rows.reshape(*group.shape, *part.shape[1:]).transpose(1, 2)


def _find_group(group: Group, bias: Tensor | None, device: torch.device) -> GroupInput:
    mask = None if bias is None else pair_bias(bias, group.shape[1])
    if group.gather is None or group.real is None:
        return GroupInput(group.rows, group.shape, None, None, mask)
    keys = group.real[:, None, None, :].to(device)
    return GroupInput(
        rows=group.rows,
        shape=group.shape,
        gather=group.gather.view(-1).to(device),
        inside=group.real.view(-1).nonzero().view(-1).to(device),
        mask=keys if mask is None else mask.masked_fill(~keys, -math.inf),
    )
