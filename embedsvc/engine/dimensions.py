"""The length of a model's vectors, as its files say, before any weight is loaded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def find_dimensions(folder: Path) -> int | None:
    """Follow a model's modules through their files; None where these do not say."""
    modules = _read(folder / "modules.json") or [{"type": "Transformer", "path": ""}, {"type": "Pooling"}]
    dimensions: int | None = None
    for module in modules:
        kind = str(module["type"]).rpartition(".")[2]
        config = _read(folder / module["path"] / "config.json") if "path" in module else {}
        dimensions = _after(kind, config, dimensions)
    return dimensions


def _after(kind: str, config: Mapping[str, Any], dimensions: int | None) -> int | None:
    """The length of what leaves a module, where `dimensions` go in; None for a module that is not known."""
    match kind:
        case "Transformer":
            return config.get("hidden_size")
        case "Pooling":
            own = config.get("embedding_dimension") or config.get("word_embedding_dimension") or dimensions
            return None if own is None else own * _ways(config)
        case "Dense":
            return config.get("out_features")
        case "Normalize" | "Dropout" | "LayerNorm":
            return dimensions
        case _:
            return None


def _ways(config: Mapping[str, Any]) -> int:
    """In how many ways tokens become vectors, which are put one behind the other."""
    mode = config.get("pooling_mode")
    if mode is not None:
        return 1 if isinstance(mode, str) else len(mode)
    return max(1, sum(bool(on) for name, on in config.items() if name.startswith("pooling_mode")))


def _read(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    return json.loads(path.read_text()) if path.exists() else {}
