"""Secrets in files, as Docker and Kubernetes mount them: read when they change."""

import os
import stat
from pathlib import Path

from embedsvc.secret.reference import SecretRef
from embedsvc.secret.source import SecretError, trim

MOST_BYTES = 4_194_304
"""What a secret may have; AWS's limit, too."""

Stamp = tuple[int, int, int]


class FileSource:
    """Files. Each is looked at whenever it is asked for, and read only when it has changed.

    Kubernetes replaces what a path's symbolic links lead to, so that the path is followed anew each time.
    Who may read a file is not checked: Docker's and Kubernetes' own are readable to all of a container.
    """

    def __init__(self) -> None:
        self._read: dict[SecretRef, tuple[Stamp, bytes]] = {}

    def fetch(self, ref: SecretRef) -> bytes:
        """Return what is in a file, without its last newline.

        Raises:
            SecretError: It cannot be read, is not a regular file, or is too large.
        """
        path = Path(ref.name)
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if ref not in self._read or self._read[ref][0] != stamp:
                self._read[ref] = stamp, _content(path, status)
        except OSError as error:
            raise SecretError(error.strerror or type(error).__name__) from None
        return self._read[ref][1]

    def close(self) -> None:
        """Nothing is open."""


def _content(path: Path, status: os.stat_result) -> bytes:
    if not stat.S_ISREG(status.st_mode):
        raise SecretError("it is not a regular file")
    if status.st_size > MOST_BYTES:
        raise SecretError(f"it is larger than {MOST_BYTES:,} bytes")
    return trim(path.read_bytes())
