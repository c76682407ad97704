"""BERT and MPNet on a CPU without padding: linear layers see real tokens only.

The forward pass of transformers' modeling_bert.py and modeling_mpnet.py (post-norm encoders; Devlin et al.,
2018, and Song et al., 2020) over a packed batch, with query, key and value in one product. What a text's
vector is does not depend on the texts beside it.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from embedsvc.engine.int8 import Int8Linear
from embedsvc.engine.packing import Group, Packed, pack
from embedsvc.engine.positions import position_vectors, relative_bias
from embedsvc.engine.prepack import Linear
from embedsvc.engine.team import assemble
from embedsvc.engine.weights import NAMES, Architecture, load_weights
from embedsvc.types import TokenSequence, Vectors

MOST_LANES = 4
"""With more cores than that, each lane has several: a long text is not to take much longer than it must."""


APART_WORTH_ALL = 128
"""Tokens that are worth all cores where these are not kept in place (`team.py`)."""


class PackedEncoder:
    """A model of the BERT family, or an MPNet, on the CPU: a `LanedEncoder`.

    Args:
        folder: The model's files.
        architecture: What they say (`weights.find_architecture`).
        linear: What computes its linear layers; the rest is in float32.
    """

    device = "cpu"
    padded = False

    def __init__(
        self, folder: Path, architecture: Architecture, linear: type[Linear | Int8Linear] = Linear
    ) -> None:
        self._team = assemble()
        self.worth_all = 1 if self._team.cores else APART_WORTH_ALL
        weights = load_weights(folder, architecture.family)
        self.dimensions = architecture.dimensions
        self._architecture = architecture
        self._words = weights["embeddings.word_embeddings.weight"]
        self._positions = position_vectors(weights, architecture.family)
        self.longest = len(self._positions)
        self._norm = _norm(weights, "embeddings.LayerNorm", architecture)
        self._bias = relative_bias(weights) if architecture.family == "mpnet" else None
        self._layers = [_Layer(weights, at, architecture, linear) for at in range(architecture.layers)]

        self._cores = torch.get_num_threads()
        self.lanes = min(MOST_LANES, self._cores)
        self._parts: SimpleQueue[int] = SimpleQueue()  # of the cores, one for each lane that is free
        for lane in range(self.lanes):
            self._parts.put((self._cores + lane) // self.lanes)

    def encode(self, batch: Sequence[TokenSequence]) -> Vectors:
        """See `Encoder.encode`."""
        with self._team.in_place():
            return self._encode(batch, self._cores)

    def encode_in_lane(self, batch: Sequence[TokenSequence]) -> Vectors:
        """See `LanedEncoder.encode_in_lane`."""
        part = self._parts.get()
        try:
            return self._encode(batch, part)
        finally:
            self._parts.put(part)

    @torch.inference_mode()
    def _encode(self, batch: Sequence[TokenSequence], cores: int) -> Vectors:
        torch.set_num_threads(cores)  # of this thread's operators: OpenMP keeps the number for each thread
        packed = pack(batch)
        hidden = self._norm(self._words[packed.ids] + self._positions[packed.positions])
        masks = [self._mask(group) for group in packed.groups]
        for layer in self._layers:
            hidden = layer(hidden, packed, masks)
        vectors = torch.empty(len(batch), self.dimensions)
        vectors[packed.order] = self._pool(hidden, packed)
        result: Vectors = vectors.numpy()
        return result

    def gpu_memory(self) -> int | None:
        """None: it runs on the CPU."""
        return None

    def _pool(self, hidden: Tensor, packed: Packed) -> Tensor:
        if self._architecture.pooling == "cls":
            return hidden[packed.lengths.cumsum(0) - packed.lengths]
        real = hidden[: packed.groups[-1].rows.stop]
        return torch.segment_reduce(real, "mean", lengths=packed.lengths)

    def _mask(self, group: Group) -> Tensor | None:
        """What attention adds to its scores: MPNet's relative bias, and minus infinity at padding."""
        longest = group.shape[1]
        bias = None if self._bias is None else self._bias[:, :, :longest, :longest]
        if group.real is None:
            return bias
        padding = torch.zeros(group.real.shape).masked_fill_(~group.real, -math.inf)[:, None, None, :]
        return padding if bias is None else bias + padding


class _Layer:
    """One layer of the encoder."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        index: int,
        architecture: Architecture,
        linear: type[Linear | Int8Linear],
    ) -> None:
        prefix, names = f"encoder.layer.{index}.", NAMES[architecture.family]
        projections = [prefix + names[name] for name in ("query", "key", "value")]
        self._heads = architecture.heads
        self._qkv = linear(
            torch.cat([weights[f"{name}.weight"] for name in projections]),
            torch.cat([weights[f"{name}.bias"] for name in projections]),
        )
        self._output = linear(*_affine(weights, prefix + names["output"]))
        self._attention_norm = _norm(weights, prefix + names["attention_norm"], architecture)
        self._up = linear(*_affine(weights, f"{prefix}intermediate.dense"), activate=True)
        self._down = linear(*_affine(weights, f"{prefix}output.dense"))
        self._norm = _norm(weights, f"{prefix}output.LayerNorm", architecture)

    def __call__(self, hidden: Tensor, packed: Packed, masks: Sequence[Tensor | None]) -> Tensor:
        """Compute [tokens, dimensions] from the same."""
        attended = self._output(self._attend(self._qkv(hidden), packed, masks))
        hidden = self._attention_norm(attended.add_(hidden))
        return self._norm(self._down(self._up(hidden)).add_(hidden))

    def _attend(self, qkv: Tensor, packed: Packed, masks: Sequence[Tensor | None]) -> Tensor:
        attended = torch.empty(len(qkv), qkv.shape[1] // 3)
        for group, mask in zip(packed.groups, masks, strict=True):
            rows = qkv[group.rows] if group.gather is None else qkv[group.gather.view(-1)]
            # [texts, longest, 3, heads, head] to three of [texts, heads, longest, head]
            query, key, value = rows.view(*group.shape, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            result = scaled_dot_product_attention(query, key, value, attn_mask=mask)
            flat = result.transpose(1, 2).reshape(*group.shape, -1)
            attended[group.rows] = flat.flatten(0, 1) if group.real is None else flat[group.real]
        attended[packed.groups[-1].rows.stop :] = 0  # whatever lay there might be slow to compute with
        return attended


def _affine(weights: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _norm(weights: Mapping[str, Tensor], name: str, architecture: Architecture) -> partial[Tensor]:
    return partial(
        layer_norm,
        normalized_shape=(architecture.dimensions,),
        weight=weights[f"{name}.weight"],
        bias=weights[f"{name}.bias"],
        eps=architecture.epsilon,
    )
