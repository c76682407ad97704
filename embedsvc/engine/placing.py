"""Puts a BERT or an MPNet on a device: in which precision, with which attention, compiled or not."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from embedsvc.engine.attention import Attention, flex, grouped, varlen
from embedsvc.engine.positions import distance_bias
from embedsvc.engine.transformer import Transformer, make_layer, move_weights
from embedsvc.engine.weights import Architecture, load_weights

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
"""What `engine.precision` calls them."""

MOST_OF_HEAD = 256
"""Numbers of an attention head that FlashAttention computes."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is put on a device.

    Attributes:
        device: Such as "cuda:0"; "cpu" for tests.
        precision: A name in `DTYPES`: what weights are kept and multiplied in.
        batch_tokens: Tokens of the largest batch that is made ready for; larger ones work, and are slow.
        batch_texts: Texts of the same.
    """

    device: str
    precision: str
    batch_tokens: int
    batch_texts: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A model on a device.

    Attributes:
        transformer: What computes it.
        uncompiled: Why its kernels are not compiled, where they could be; None where all is well.
    """

    transformer: Transformer
    uncompiled: str | None


def place(folder: Path, architecture: Architecture, options: Options) -> Placed:
    """Read a model's weights and put them on a device; takes seconds."""
    found = load_weights(folder, architecture.family)
    weights = move_weights(found, architecture, options.device, DTYPES[options.precision])
    bias = distance_bias(found).to(options.device) if architecture.family == "mpnet" else None
    uncompiled = why_uncompiled(options.device)
    attention = choose_attention(architecture, options, bias, compiled=uncompiled is None)
    layer = make_layer(attention.attend, architecture)
    if attention.static and uncompiled is None:
        layer = torch.compile(layer, fullgraph=True)
    return Placed(Transformer(weights, architecture, attention, layer), uncompiled)


def choose_attention(
    architecture: Architecture, options: Options, bias: Tensor | None, *, compiled: bool
) -> Attention:
    """Return the fastest way that computes this.

    Args:
        architecture: What the model is.
        options: Where it is, and in which precision.
        bias: See `positions.distance_bias`; None for a model without.
        compiled: Whether functions can be compiled for the device.
    """
    head = architecture.dimensions // architecture.heads
    half = options.device != "cpu" and options.precision != "float32"
    if half and bias is None and head % 8 == 0 and head <= MOST_OF_HEAD:
        return varlen()
    if half and bias is not None and compiled:
        return flex(bias)
    return grouped(None if bias is None else bias.to(DTYPES[options.precision]))


def why_uncompiled(device: str) -> str | None:
    """Compile a trivial function for a GPU, and say why it fails: mostly, there is no C compiler for Triton.

    Returns:
        None where it works, and on a CPU, for which nothing is compiled.
    """
    if device == "cpu":
        return None
    try:
        torch.compile(torch.neg)(torch.zeros(1, device=device))
    except Exception as error:  # noqa: BLE001 - whatever a tool chain raises
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return None
