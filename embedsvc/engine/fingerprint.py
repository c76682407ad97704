"""What a model's files are, in a few characters: other files have another fingerprint."""

import hashlib
import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
"""Files that vectors may depend on: weights, vocabularies, and what says how to use them."""

WEIGHTS = ".safetensors"
"""How the names of files with weights end."""

PICKLED, PREFERRED = "pytorch_model.bin", "model.safetensors"
"""Weights of a module, such as 2_Dense: the first is loaded where the second is not beside it."""

CHARACTERS = 16
"""Of a fingerprint: 64 bits."""


def fingerprint(folder: Path) -> str:
    """Read all files of a model that vectors may depend on; blocking, about a second for a gigabyte."""
    told = hashlib.sha256()
    for path in sorted(relevant(folder)):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        told.update(f"{content} {path.relative_to(folder).as_posix()}\n".encode())
    return told.hexdigest()[:CHARACTERS]


def weigh(folder: Path) -> int:
    """The bytes of a model's weights, as they lie on the disk."""
    weights = (path for path in relevant(folder) if path.suffix == WEIGHTS or path.name == PICKLED)
    return sum(path.stat().st_size for path in weights)


def relevant(folder: Path) -> Iterator[Path]:
    """The files of a model that vectors may depend on, those in its subfolders too; hidden ones are not."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if _counts(name) or (name == PICKLED and PREFERRED not in names):
                yield Path(parent, name)


def _counts(name: str) -> bool:
    return not name.startswith(".") and any(fnmatch(name, pattern) for pattern in PATTERNS)
