"""Rows to bytes for the second level, and back.

Whatever is kept outside of this process may come back cut, mixed up or as somebody else's: the row says whose
it is by the whole digest, and a checksum over everything says whether it is whole. Little-endian:

    version u16 | truncated u16 | dimensions u32 | tokens u32 | expires_at f64 | digest 32 bytes |
    dimensions x f32 | CRC-32 of all before it u32
"""

import struct
import zlib

import numpy as np

from embedsvc.cache.row import Key, Row

VERSION = 1

HEAD = struct.Struct("<HHIId32s")
"""Its length is a multiple of four, so that the numbers after it are where a processor wants them."""

CHECKSUM = struct.Struct("<I")
NUMBER = np.dtype("<f4")


class CorruptRowError(Exception):
    """Bytes that are no row, or no whole one."""


def encode(key: Key, row: Row) -> bytes:
    """Write a row down."""
    vector = np.ascontiguousarray(row.vector, NUMBER)
    head = HEAD.pack(VERSION, row.truncated, len(vector), row.tokens, row.expires_at, key)
    body = head + vector.tobytes()
    return body + CHECKSUM.pack(zlib.crc32(body))


def decode(key: Key, data: bytes, now: float) -> Row | None:
    """Read a row.

    Args:
        key: What it was asked for by.
        data: What came.
        now: Seconds since the epoch.

    Returns:
        The row, whose vector is a read-only view of `data`; None where it has expired, is another key's
        (whose short form is the same), or was written by another release.

    Raises:
        CorruptRowError: It was not written by `encode`, or is not what was.
    """
    end = len(data) - CHECKSUM.size
    if end < HEAD.size or CHECKSUM.unpack_from(data, end)[0] != zlib.crc32(memoryview(data)[:end]):
        raise CorruptRowError("the checksum is another")
    version, truncated, dimensions, tokens, expires_at, digest = HEAD.unpack_from(data)
    if version != VERSION or digest != key or expires_at <= now:
        return None
    if end - HEAD.size != dimensions * NUMBER.itemsize:
        raise CorruptRowError("the length is another")
    vector = np.frombuffer(data, NUMBER, dimensions, HEAD.size)
    return Row(vector, tokens, bool(truncated), expires_at)
