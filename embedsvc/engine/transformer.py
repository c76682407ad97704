"""The forward pass of BERT and MPNet over a packed batch on any device, in any precision.

That of `packed.py`, whose numbers it must give, in terms that a GPU likes: shapes that do not depend on the
lengths of texts, and nothing that waits for the device. Layer normalization counts in float32 whatever its
numbers are (torch's kernels do), and so does pooling.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding, gelu, layer_norm, linear

from embedsvc.engine.attention import Attend, Attention
from embedsvc.engine.places import find_places
from embedsvc.engine.positions import position_vectors
from embedsvc.engine.shapes import Shape
from embedsvc.engine.weights import NAMES, Architecture


class Affine(NamedTuple):
    """The two tensors of a linear layer, or of a normalization."""

    weight: Tensor
    bias: Tensor


class LayerWeights(NamedTuple):
    """One layer of the encoder; query, key and value in one product."""

    projections: Affine
    output: Affine
    attention_norm: Affine
    up: Affine
    down: Affine
    norm: Affine


@dataclass(frozen=True, slots=True)
class Weights:
    """A model on a device.

    Attributes:
        words: [vocabulary, dimensions].
        positions: [places, dimensions].
        norm: Of the sum of both.
        layers: In order.
    """

    words: Tensor
    positions: Tensor
    norm: Affine
    layers: Sequence[LayerWeights]


Layer = Callable[[Tensor, LayerWeights, Any], Tensor]
"""[rows, dimensions] to the same, with a layer's weights and what `Attention.prepare` found."""


def move_weights(
    found: Mapping[str, Tensor], architecture: Architecture, device: str, dtype: torch.dtype
) -> Weights:
    """Put a model's weights (`weights.load_weights`) on a device, in the precision that it computes in."""
    moved = {name: tensor.to(device, dtype) for name, tensor in found.items()}
    return Weights(
        words=moved["embeddings.word_embeddings.weight"],
        positions=position_vectors(found, architecture.family).to(device, dtype),
        norm=_affine(moved, "embeddings.LayerNorm"),
        layers=[_layer_weights(moved, at, architecture.family) for at in range(architecture.layers)],
    )


def make_layer(attend: Attend, architecture: Architecture) -> Layer:
    """Return the function that every layer is: one function, so that it is compiled once for all."""
    heads, dimensions, epsilon = architecture.heads, [architecture.dimensions], architecture.epsilon

    def layer(hidden: Tensor, weights: LayerWeights, known: Any) -> Tensor:  # noqa: ANN401 - see Attention
        query, key, value = linear(hidden, *weights.projections).view(len(hidden), 3, heads, -1).unbind(1)
        attended = attend(query, key, value, known).flatten(1)
        hidden = layer_norm(
            hidden + linear(attended, *weights.output), dimensions, *weights.attention_norm, epsilon
        )
        raised = gelu(linear(hidden, *weights.up))
        return layer_norm(hidden + linear(raised, *weights.down), dimensions, *weights.norm, epsilon)

    return layer


@dataclass(frozen=True, slots=True)
class Transformer:
    """A model that can be called.

    Attributes:
        weights: On its device.
        architecture: What it is.
        attention: How its tokens see each other.
        layer: What `make_layer` made, compiled or not.
    """

    weights: Weights
    architecture: Architecture
    attention: Attention
    layer: Layer

    def __call__(self, numbers: Tensor, shape: Shape, lengths: Sequence[int]) -> Tensor:
        """Compute the pooled vectors of a batch.

        Args:
            numbers: int32 of shape [shape.numbers] on the device: what `shapes.lay_out` wrote.
            shape: What it was written for.
            lengths: Tokens of each text, ascending; read only where `attention` is not static.

        Returns:
            Float32 of shape [shape.texts, dimensions]. Rows of texts that are not there mean nothing.
        """
        ids, starts = numbers[: shape.tokens], numbers[shape.tokens :]
        places = find_places(starts, shape.tokens, shape.longest)
        known = self.attention.prepare(places, lengths)
        hidden = self._embed(ids, places.positions)
        for weights in self.weights.layers:
            hidden = self.layer(hidden, weights, known)
        return self._pool(hidden, starts)

    def _embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        summed = embedding(ids, self.weights.words) + embedding(positions, self.weights.positions)
        return layer_norm(
            summed, [self.architecture.dimensions], *self.weights.norm, self.architecture.epsilon
        )

    def _pool(self, hidden: Tensor, starts: Tensor) -> Tensor:
        if self.architecture.pooling == "cls":
            return hidden[starts[:-1].clamp(max=len(hidden) - 1)].float()
        # Unsafe: the check of the offsets would wait for the device.
        return torch.segment_reduce(hidden.float(), "mean", offsets=starts, axis=0, unsafe=True)


def _layer_weights(moved: Mapping[str, Tensor], index: int, family: str) -> LayerWeights:
    prefix, names = f"encoder.layer.{index}.", NAMES[family]
    projections = [_affine(moved, prefix + names[name]) for name in ("query", "key", "value")]
    return LayerWeights(
        projections=Affine(*(torch.cat(parts) for parts in zip(*projections, strict=True))),
        output=_affine(moved, prefix + names["output"]),
        attention_norm=_affine(moved, prefix + names["attention_norm"]),
        up=_affine(moved, f"{prefix}intermediate.dense"),
        down=_affine(moved, f"{prefix}output.dense"),
        norm=_affine(moved, f"{prefix}output.LayerNorm"),
    )


def _affine(moved: Mapping[str, Tensor], name: str) -> Affine:
    return Affine(moved[f"{name}.weight"], moved[f"{name}.bias"])
