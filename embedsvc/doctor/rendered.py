"""Compares what Envoy was given with what it would be given now."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from embedsvc.config import Settings
from rest_shim import edge


def find_changed(settings: Settings, folder: Path) -> Sequence[str]:
    """Return the names of files that the settings would have otherwise.

    Args:
        settings: What holds now.
        folder: What `embedsvc render-edge` has written.

    Raises:
        ConfigurationError: The template is not there.
    """
    with TemporaryDirectory() as made:
        edge.render(settings, Path(made))
        return [
            fresh.name
            for fresh in sorted(Path(made).iterdir())
            if _read(folder / fresh.name)
            != fresh.read_bytes().replace(made.encode(), bytes(folder.absolute()))
        ]


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
