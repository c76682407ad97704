"""What a folder's files say of a BERT or an MPNet, and its weights under one set of names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

NAMES: Mapping[str, Mapping[str, str]] = {
    "bert": {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "output": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
    },
    "mpnet": {
        "query": "attention.attn.q",
        "key": "attention.attn.k",
        "value": "attention.attn.v",
        "output": "attention.attn.o",
        "attention_norm": "attention.LayerNorm",
    },
}
"""Where the two families differ in what they call the parts of a layer."""

POOLING = {
    "mean": "mean",
    "cls": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
}
"""What pooling is called in files of today, and in those before sentence-transformers 6."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model that the packed encoder can compute.

    Attributes:
        family: "bert" or "mpnet".
        layers: How many.
        heads: Attention heads of a layer.
        dimensions: The length of a token's vector.
        epsilon: Of layer normalization.
        pooling: "mean" or "cls".
    """

    family: str
    layers: int
    heads: int
    dimensions: int
    epsilon: float
    pooling: str


def find_architecture(folder: Path) -> Architecture | None:
    """Read a model's files; None where it is anything that the packed encoder does not compute."""
    config, pooling = _read(folder / "config.json"), _find_pooling(folder)
    plain = (
        config.get("model_type") in NAMES
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and (folder / "model.safetensors").exists()
    )
    if not plain or pooling is None:
        return None
    return Architecture(
        family=config["model_type"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        dimensions=config["hidden_size"],
        epsilon=config["layer_norm_eps"],
        pooling=pooling,
    )


def load_weights(folder: Path, family: str) -> dict[str, Tensor]:
    """Read the weights as float32, without the prefix that some files have.

    They are copied: what is loaded is only mapped, and would change with a file that is written over.
    """
    found = load_file(folder / "model.safetensors")
    return {
        name.removeprefix(f"{family}."): tensor.to(torch.float32, copy=True) for name, tensor in found.items()
    }


def _find_pooling(folder: Path) -> str | None:
    """How tokens become one vector: "mean", "cls", or None for any other way, or further modules."""
    modules = [str(module["type"]).rpartition(".")[2] for module in _read(folder / "modules.json")]
    if modules[:2] != ["Transformer", "Pooling"] or modules[2:] not in ([], ["Normalize"]):
        return None
    config = _read(folder / "1_Pooling" / "config.json")
    if isinstance(config.get("pooling_mode"), str):
        chosen = [config["pooling_mode"]]
    else:
        chosen = [name for name, value in config.items() if name.startswith("pooling_mode") and value]
    return POOLING.get(chosen[0]) if len(chosen) == 1 else None


def _read(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    return json.loads(path.read_text()) if path.exists() else {}
