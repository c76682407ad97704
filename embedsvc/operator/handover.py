"""How a new key gets to the operator: on standard output, or in a file that only its owner can read."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp

from embedsvc.errors import ConfigurationError
from embedsvc.keys import token
from embedsvc.operator.keys import Made


def file_of(folder: Path, name: str) -> Path:
    """Where a key of some name goes; several names may have the same file."""
    return folder / f"{name.replace('/', '_').replace(' ', '_')}.key"


def held(path: Path) -> str | None:
    """The digest of the key that a file holds; None where there is no file.

    Raises:
        ConfigurationError: It cannot be read, or holds something else.
    """
    try:
        key = path.read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--out: {path}: {error}") from None
    if not token.is_key(key):
        raise ConfigurationError(f"--out: {path} is there already, and holds no API key")
    return token.digest(key)


@contextmanager
def handing_over(made: Made, path: Path | None) -> Iterator[None]:
    """Keep a key in the block, then give it away. Where it could not be given, the block does not run.

    Args:
        made: The key.
        path: Its file, which is whole from the first moment; None: standard output.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    name = made.record.name
    if path is None:
        yield
        print(made.key)
        print(f"{name}: this key is shown once; only its SHA-256 is kept", file=sys.stderr)
        return
    fresh = _write(path.parent, f"{made.key}\n".encode())
    try:
        yield
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    print(f"{name}: {path}", file=sys.stderr)


def _write(folder: Path, data: bytes) -> Path:
    """Write a file that only its owner can read, under a name that nobody knows yet."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = mkstemp(dir=folder, prefix=".", suffix=".new")
    except OSError as error:
        raise ConfigurationError(f"--out: {error}") from None
    fresh = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(number)
    except OSError as error:
        fresh.unlink()
        raise ConfigurationError(f"--out: {error}") from None
    return fresh
