"""Files that nobody else may read."""

import os
from functools import partial
from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, and that is whole from the first moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)  # what was left behind may be a link, or open to others
    with open(fresh, "xb", opener=partial(os.open, mode=0o600)) as file:
        file.write(data)
    fresh.replace(path)


def write_changed(path: Path, data: bytes) -> None:
    """The same, but only where something else is there, so that nobody who watches is told for nothing."""
    if not path.exists() or path.read_bytes() != data:
        write_private(path, data)
