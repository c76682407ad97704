"""A model's files: where they are, whether they are the right ones, and what they say."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from embedsvc.config import ModelSettings
from embedsvc.engine.catalog import CATALOG, CatalogEntry
from embedsvc.engine.dimensions import find_dimensions
from embedsvc.engine.fingerprint import weigh
from embedsvc.errors import ConfigurationError

LONGEST = 512
"""Tokens of one text, at most, whatever a model's files allow."""

FOLDER = "folder"
"""The revision of files that the operator brought, which nobody has given one."""

PATTERNS = ["*.json", "*.txt", "*.model", "model.safetensors", "model-*.safetensors"]
"""What is downloaded of a repository: no second copy of the weights, and nothing that is code."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model's folder, and what its files say.

    Attributes:
        folder: Where the files are.
        revision: The hub's commit, or "folder" where the operator brought the files: `source.open_source`
            adds their fingerprint.
        max_tokens: Tokens of one text, at most, special tokens counted.
        normalized: Whether its vectors are normalized by default.
        prompts: What goes before texts, by input type.
        dimensions: The length of its vectors; None where the files do not say.
        weights_bytes: Bytes of its weights, as they lie on the disk.
    """

    folder: Path
    revision: str
    max_tokens: int
    normalized: bool
    prompts: Mapping[str, str]
    dimensions: int | None
    weights_bytes: int


def find(name: str, settings: ModelSettings) -> ModelFiles:
    """Find a model: its configured path, the models folder, its package, the hub, in this order.

    Raises:
        ConfigurationError: It is nowhere, or its weights are not the ones that were published.
    """
    entry = CATALOG.get(name)
    overrides = settings.settings.get(name)
    local = overrides.path if overrides and overrides.path else settings.folder / name
    if (local / "config.json").exists():
        return _read(local, FOLDER, entry)
    if overrides and overrides.path:
        raise ConfigurationError(f'models.settings."{name}".path: no config.json in {local}')
    if entry is None:
        raise ConfigurationError(
            f"models: {name!r} is not one of {', '.join(CATALOG)}, and {local} has no config.json"
        )
    if entry.package and (folder := _find_package(entry)):
        return _read(folder, entry.revision, entry)
    if settings.hub:
        return _read(_download(name, entry, local), entry.revision, entry)
    raise ConfigurationError(f"models: {name} is not in {local}, and models.hub is off")


def _find_package(entry: CatalogEntry) -> Path | None:
    spec = find_spec(entry.package or "")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != entry.weights_sha256:
        raise ConfigurationError(
            f"{weights}: SHA-256 is {found}, not {entry.weights_sha256}: these are not the published "
            f"weights of {entry.repository}; reinstall {entry.package}"
        )
    return folder


def _download(name: str, entry: CatalogEntry, local: Path) -> Path:
    try:
        return Path(snapshot_download(entry.repository, revision=entry.revision, allow_patterns=PATTERNS))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigurationError(
            f"models: {name} could not be downloaded ({type(error).__name__}); where there is no hub, "
            f"put the files of {entry.repository} at {entry.revision} into {local.absolute()}"
        ) from error


def _read(folder: Path, revision: str, entry: CatalogEntry | None) -> ModelFiles:
    modules = _json(folder / "modules.json")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    return ModelFiles(
        folder=folder,
        revision=revision,
        max_tokens=min(_own_length(folder), LONGEST),
        normalized=any(str(module["type"]).endswith("Normalize") for module in modules),
        prompts=_by_input_type(prompts) if any(prompts.values()) else dict(entry.prompts if entry else {}),
        dimensions=find_dimensions(folder),
        weights_bytes=weigh(folder),
    )


def _own_length(folder: Path) -> int:
    """The length that sentence-transformers takes: its own file's, else the tokenizer's and the model's."""
    if own := _json(folder / "sentence_bert_config.json").get("max_seq_length"):
        return int(own)
    tokenizer = _json(folder / "tokenizer_config.json").get("model_max_length", LONGEST)
    positions = _json(folder / "config.json").get("max_position_embeddings", LONGEST)
    return int(min(tokenizer, positions))


def _by_input_type(prompts: Mapping[str, str]) -> dict[str, str]:
    """Prompts under the names that sentence-transformers' encode_query and encode_document look for."""
    names = {"query": ("query",), "document": ("document", "passage", "corpus")}
    found = {kind: next((n for n in known if n in prompts), None) for kind, known in names.items()}
    return {kind: prompts[name] for kind, name in found.items() if name}


def _json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from error
