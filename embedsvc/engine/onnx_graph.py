"""The packed forward pass as an ONNX graph: linear layers see real tokens only, attention sees padded rows.

What `packed.py` computes, written so that ONNX Runtime runs all of it: the rows of a packed [tokens,
dimensions] are gathered to [texts, longest] for attention, and back. Attention is ONNX Runtime's own operator
(com.microsoft.MultiHeadAttention), which is told the texts' lengths and needs no mask.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.functional import embedding, gelu, layer_norm

from embedsvc.engine.positions import position_vectors, relative_bias
from embedsvc.engine.weights import NAMES, Architecture, load_weights

OPSET = 20
"""The first that has GELU."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where attention finds the tokens.

    Attributes:
        gather: Int64 [texts, longest], the token in each place; any token where there is none.
        scatter: Int64 [tokens], each token's place in the flattened `gather`.
        lengths: Int32 [texts].
        bias: What attention adds to its scores, [1, heads, longest, longest].
    """

    gather: Tensor
    scatter: Tensor
    lengths: Tensor
    bias: Tensor | None


class PackedGraph(nn.Module):
    """A model of the BERT family, or an MPNet.

    Args:
        weights: Of the model (`weights.load_weights`).
        architecture: What its files say.
    """

    def __init__(self, weights: Mapping[str, Tensor], architecture: Architecture) -> None:
        super().__init__()
        self._words = weights["embeddings.word_embeddings.weight"]
        self._positions = position_vectors(weights, architecture.family)
        self._norm = _Norm(weights, "embeddings.LayerNorm", architecture)
        self._bias = relative_bias(weights) if architecture.family == "mpnet" else None
        self._layers = [_Layer(weights, at, architecture) for at in range(architecture.layers)]

    def forward(
        self, ids: Tensor, positions: Tensor, gather: Tensor, scatter: Tensor, lengths: Tensor
    ) -> Tensor:
        """Compute float32 [tokens, dimensions].

        Args:
            ids: Int64 [tokens], one text after the other.
            positions: Int64 [tokens], each token's place in its text, from 0.
            gather: See `Places`.
            scatter: See `Places`.
            lengths: See `Places`.
        """
        longest = gather.shape[1]
        bias = None if self._bias is None else self._bias[:, :, :longest, :longest]
        places = Places(gather, scatter, lengths, bias)
        hidden = self._norm(embedding(ids, self._words) + embedding(positions, self._positions))
        for layer in self._layers:
            hidden = layer(hidden, places)
        return hidden


class _Layer:
    """One layer of the encoder."""

    def __init__(self, weights: Mapping[str, Tensor], index: int, architecture: Architecture) -> None:
        prefix, names = f"encoder.layer.{index}.", NAMES[architecture.family]
        projections = [prefix + names[name] for name in ("query", "key", "value")]
        self._heads = architecture.heads
        self._qkv = _Linear(
            torch.cat([weights[f"{name}.weight"] for name in projections]),
            torch.cat([weights[f"{name}.bias"] for name in projections]),
        )
        self._output = _linear(weights, prefix + names["output"])
        self._attention_norm = _Norm(weights, prefix + names["attention_norm"], architecture)
        self._up = _linear(weights, f"{prefix}intermediate.dense")
        self._down = _linear(weights, f"{prefix}output.dense")
        self._norm = _Norm(weights, f"{prefix}output.LayerNorm", architecture)

    def __call__(self, hidden: Tensor, places: Places) -> Tensor:
        """Compute [tokens, dimensions] from the same."""
        hidden = self._attention_norm(self._output(self._attend(self._qkv(hidden), places)) + hidden)
        return self._norm(self._down(gelu(self._up(hidden))) + hidden)

    def _attend(self, qkv: Tensor, places: Places) -> Tensor:
        texts, longest = places.gather.shape
        rows = qkv.index_select(0, places.gather.reshape(-1)).reshape(texts, longest, -1)
        query, key, value = rows.chunk(3, dim=-1)
        attended = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            [query, key, value, None, places.lengths, places.bias],
            attrs={"num_heads": self._heads},
            dtype=qkv.dtype,
            shape=query.shape,
            version=1,
        )
        return attended.reshape(-1, query.shape[2]).index_select(0, places.scatter)


class _Linear:
    """inputs @ weight.T + bias, as the one product that ONNX's quantizer knows."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight = weight.T.contiguous()
        self._bias = bias

    def __call__(self, inputs: Tensor) -> Tensor:
        return inputs @ self._weight + self._bias


class _Norm:
    """Layer normalization."""

    def __init__(self, weights: Mapping[str, Tensor], name: str, architecture: Architecture) -> None:
        self._weight, self._bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        self._epsilon = architecture.epsilon

    def __call__(self, inputs: Tensor) -> Tensor:
        return layer_norm(inputs, self._weight.shape, self._weight, self._bias, self._epsilon)


def _linear(weights: Mapping[str, Tensor], name: str) -> _Linear:
    return _Linear(weights[f"{name}.weight"], weights[f"{name}.bias"])


def export(folder: Path, architecture: Architecture, path: Path) -> None:
    """Write a model's graph; takes seconds. Needs the packages onnx and onnxscript.

    Args:
        folder: The model's files.
        architecture: What they say.
        path: The file to write.
    """
    graph = PackedGraph(load_weights(folder, architecture.family), architecture).eval()
    tokens, texts, longest = (Dim(name) for name in ("tokens", "texts", "longest"))
    with torch.no_grad(), _quiet():
        torch.onnx.export(
            graph,
            _example(),
            path,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            external_data=False,
            input_names=["ids", "positions", "gather", "scatter", "lengths"],
            output_names=["hidden"],
            # The rest are of the same lengths, which the exporter finds by itself.
            dynamic_shapes=({0: tokens}, {0: Dim.AUTO}, {0: texts, 1: longest}, {0: Dim.AUTO}, {0: Dim.AUTO}),
        )


def _example() -> tuple[Tensor, ...]:
    """Inputs of the right types: three texts, 9, 8 and 3 tokens long."""
    lengths = torch.tensor([9, 8, 3])
    real = torch.arange(9) < lengths[:, None]
    gather = torch.zeros(3, 9, dtype=torch.int64).masked_scatter(real, torch.arange(20))
    positions = torch.arange(9).expand(3, 9)[real]
    return torch.arange(20), positions, gather, real.flatten().nonzero().flatten(), lengths.int()


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of torch's own deprecations, and logs what is not installed: nothing of ours."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
