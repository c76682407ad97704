"""Files that nobody else may read."""

from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, and that is whole from the first moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(data)
    fresh.replace(path)


def write_changed(path: Path, data: bytes) -> None:
    """The same, but only where something else is there, so that nobody who watches is told for nothing."""
    if not path.exists() or path.read_bytes() != data:
        write_private(path, data)
