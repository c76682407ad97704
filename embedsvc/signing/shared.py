"""Nonces that the processes of one machine share, and that outlive each of them: a log of appended records.

The kernel puts appended records into one order, which all processes see. A nonce belongs to whoever's record
of it comes first. Nobody holds a lock, so nobody can die with one; and nothing is waited for but the kernel's
own copy of 32 bytes.
"""

import os
import struct
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedsvc.signing.nonces import Nonces, Use, replayed

RECORD = struct.Struct(">Q8s16s")
"""A Use. Its size divides that of a page, so that the kernel never writes a part of one."""

SPAN_SECONDS = 60
"""Signatures of one such span of time share a file, which goes when none of them is accepted any more."""

SUFFIX = ".nonces"


class SharedNonces:
    """Like Nonces, for all processes that use the same folder. For one thread of each.

    Args:
        nonces: What this process knows of the log.
        folder: Where the log is: a folder that is there, on a file system of this machine's own, which only
            the service may write to.
    """

    def __init__(self, nonces: Nonces, folder: Path) -> None:
        self._nonces = nonces
        self._folder = folder
        self._read: defaultdict[int, int] = defaultdict(int)

    def take(self, use: Use, oldest: int) -> None:
        """See Nonces. What a signer has in memory counts over all processes.

        Raises:
            InvalidSignatureError: The nonce was used before.
            OverloadedError: Memory is full.
            OSError: The log cannot be written or read: without it nothing is accepted.
        """
        span = use.time // SPAN_SECONDS
        with _open(self._path(span)) as log:
            self._learn(log, span, oldest)
            # A replay ends here and writes nothing: else it could fill the disk.
            self._nonces.check(use, oldest)
            end = _append(log, use)
            self._learn(log, span, oldest, end - RECORD.size)
            self._read[span] = end
        if not self._nonces.add(use, oldest):
            raise replayed()

    def upkeep(self, oldest: int) -> None:
        """See Nonces; and learn what other processes have accepted, and remove old files.

        To be called before the first call is answered, too. It keeps calls from having to read much; what is
        accepted does not depend on it.

        Raises:
            OSError: The folder cannot be used.
        """
        for path in self._folder.glob(f"[0-9]*{SUFFIX}"):
            span = int(path.name.removesuffix(SUFFIX))
            if span < oldest // SPAN_SECONDS:
                path.unlink(missing_ok=True)
                self._read.pop(span, None)
            else:
                with _open(path) as log:
                    self._learn(log, span, oldest)
        self._nonces.upkeep(oldest)

    def _learn(self, log: int, span: int, oldest: int, end: int | None = None) -> None:
        start = self._read[span]
        end = os.fstat(log).st_size if end is None else end
        end -= (end - start) % RECORD.size  # of a record that was cut short nobody knows what it was
        for record in RECORD.iter_unpack(os.pread(log, end - start, start)):
            self._nonces.add(Use(*record), oldest)
        self._read[span] = end

    def _path(self, span: int) -> Path:
        return self._folder / f"{span}{SUFFIX}"


@contextmanager
def _open(path: Path) -> Iterator[int]:
    log = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield log
    finally:
        os.close(log)


def _append(log: int, use: Use) -> int:
    """Append a record; return where it ends, which is where appending leaves a file's position."""
    os.write(log, RECORD.pack(*use))
    return os.lseek(log, 0, os.SEEK_CUR)
