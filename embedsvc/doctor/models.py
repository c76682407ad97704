"""Models: whether their files are where the server looks, all there, and whole. Torch is not needed."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from embedsvc.config import ModelSettings, Settings
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.engine.catalog import CATALOG, CatalogEntry
from embedsvc.engine.fake import ENCODERS
from embedsvc.engine.files import PATTERNS, find
from embedsvc.engine.tokenizer import load_tokenizer
from embedsvc.errors import ConfigurationError

SUBJECT = Subject("models")
MEBIBYTE = 2**20


def look(settings: Settings) -> Iterator[Finding]:
    """Look at the files of each model that is served."""
    if settings.engine.encoder in ENCODERS:
        yield SUBJECT.note(
            f"engine.encoder is {settings.engine.encoder}: vectors mean nothing, and no files are needed",
            'Set engine.encoder = "auto" to serve models',
        )
        return
    for name in settings.models.served:
        try:
            folder = locate(name, settings)
            yield _look_at(name, folder, settings) if folder else _awaited(name, settings)
        except ConfigurationError as error:
            yield SUBJECT.error(str(error), _again(name, settings))
        except (OSError, ValueError) as error:
            yield SUBJECT.error(f"{name}: {error}", _again(name, settings))


def locate(name: str, settings: Settings) -> Path | None:
    """Find a model's folder as the server does, but download nothing; None where it would.

    Raises:
        ConfigurationError: It is nowhere, or its files are not the ones that were published.
    """
    if _is_of_the_hub(name, settings.models):
        return _downloaded(CATALOG[name])
    return find(name, settings.models.model_copy(update={"hub": False})).folder


def weights(folder: Path) -> list[Path]:
    """The files of a model's weights."""
    return sorted(folder.glob("model*.safetensors"))


def _is_of_the_hub(name: str, models: ModelSettings) -> bool:
    """Whether nothing that goes before the hub has it."""
    entry, overrides = CATALOG.get(name), models.settings.get(name)
    at_hand = (overrides and overrides.path) or (models.folder / name / "config.json").exists()
    packaged = entry and entry.package and find_spec(entry.package)
    return models.hub and entry is not None and not at_hand and not packaged


def _downloaded(entry: CatalogEntry) -> Path | None:
    try:
        found = snapshot_download(
            entry.repository, revision=entry.revision, allow_patterns=PATTERNS, local_files_only=True
        )
    except LocalEntryNotFoundError:
        return None
    return Path(found)


def _look_at(name: str, folder: Path, settings: Settings) -> Finding:
    missing = [str(path) for path in _needed(folder) if not path.exists()]
    if missing:
        return SUBJECT.error(f"{name}: {', '.join(missing)}: not there", _again(name, settings))
    load_tokenizer(folder)
    for path in weights(folder):
        try:
            with safe_open(path, "numpy"):  # reads no more than where each tensor begins and ends
                pass
        except SafetensorError as error:
            return SUBJECT.error(f"{name}: {path} is damaged or cut off: {error}", _again(name, settings))
    size = sum(path.stat().st_size for path in weights(folder)) / MEBIBYTE
    return SUBJECT.ok(f"{name}: in {folder}, whole; {size:,.0f} MiB of weights")


def _needed(folder: Path) -> Iterator[Path]:
    yield folder / "tokenizer.json"
    index = folder / "model.safetensors.index.json"
    if index.exists():
        yield from sorted({folder / part for part in json.loads(index.read_text())["weight_map"].values()})
    else:
        yield folder / "model.safetensors"
    modules = folder / "modules.json"
    for module in json.loads(modules.read_text()) if modules.exists() else []:
        if str(module["type"]).endswith("Pooling"):
            yield folder / module["path"] / "config.json"


def _awaited(name: str, settings: Settings) -> Finding:
    return SUBJECT.warning(
        f"{name} is not on this machine: the start downloads it, which takes a hub that answers",
        f"To have it before: {_again(name, settings)}",
    )


def _again(name: str, settings: Settings) -> str:
    entry, folder = CATALOG.get(name), settings.models.folder / name
    if entry is None:
        return f"Put the whole folder of the model, its subfolders too, into {folder}: docs/models.md"
    if entry.package and find_spec(entry.package):
        return f"Install {entry.package} again, or put the files of {entry.repository} into {folder}"
    return f"hf download {entry.repository} --revision {entry.revision} --local-dir {folder}"
