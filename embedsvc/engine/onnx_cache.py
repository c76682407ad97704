"""Graphs are made once: each lies in a folder, beside a record of what it was made from."""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from embedsvc.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a graph is made.

    Attributes:
        name: Of the file, without its ending; a graph takes the place of an older one of its name.
        made_from: Names everything that goes into the graph: what differs here is another graph.
        make: Writes the file; takes seconds.
    """

    name: str
    made_from: str
    make: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class _Record:
    made_from: str
    sha256: str


class GraphCache:
    """A folder of graphs, which processes may share.

    Args:
        folder: It need not exist. It may be read-only where it holds what is asked for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def open(self, recipe: Recipe) -> Iterator[Path]:
        """Find a graph's file, or make it; until the context is left, no other process makes one.

        Raises:
            ConfigurationError: It has to be made, and the folder cannot be written.
        """
        with self._locked():
            yield self._find(recipe) or self._make(recipe)

    def _find(self, recipe: Recipe) -> Path | None:
        """Return the graph where it is there, whole, and made from what is asked for."""
        path = self._path(recipe)
        record = _read(path.with_suffix(".json"))
        if record.get("made_from") != recipe.made_from or not path.exists():
            return None
        return path if digest(path) == record["sha256"] else None

    def _make(self, recipe: Recipe) -> Path:
        """Write the graph beside its place and move it there, then its record."""
        path = self._path(recipe)
        with self._writing(), TemporaryDirectory(dir=self._folder) as folder:
            made = Path(folder) / path.name
            recipe.make(made)
            record = made.with_suffix(".json")
            record.write_text(json.dumps(asdict(_Record(recipe.made_from, digest(made)))))
            made.replace(path)
            record.replace(path.with_suffix(".json"))
        return path

    def _path(self, recipe: Recipe) -> Path:
        return self._folder / f"{recipe.name}.onnx"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._writing():
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                f"models.cache: {self._folder.absolute()} cannot be written ({error.strerror}): name a "
                "folder that this user may write, with room for each model's weights once more"
            ) from error


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """Return what a record says; nothing where it is not there, or cut short."""
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) and set(record) == set(_Record.__slots__) else {}
