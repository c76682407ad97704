"""Reads what a provider answers, and believes nothing of it: one vector for each text, as it should be."""

import binascii
from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from embedsvc.providers.outcome import CallError
from embedsvc.types import Vectors

NUMBER = np.dtype("<f4")
"""Of a vector in base64."""


def read_vectors(content: bytes, texts: int, dimensions: int) -> Vectors:
    """Read the vectors of an answer, in the order of the texts.

    Args:
        content: The answer: JSON, with vectors in base64, or in lists from servers that do nothing else.
        texts: How many vectors there must be.
        dimensions: Finite numbers that each must have.

    Returns:
        Float32 of shape [texts, dimensions].

    Raises:
        CallError: It is anything else.
    """
    rows = _rows(content)
    if len(rows) != texts:
        raise _malformed(f"has {len(rows)} vectors for {texts} texts")
    vectors = np.empty((texts, dimensions), dtype=np.float32)
    places = set(range(texts))
    for row in rows:
        at, vector = _read(row)
        if at not in places:
            raise _malformed("has two vectors for one text, or one for none")
        if vector.shape != (dimensions,):
            raise _malformed(f"has a vector of {vector.size} numbers instead of {dimensions}")
        places.remove(at)
        vectors[at] = vector
    if not np.isfinite(vectors).all():
        raise _malformed("has a number that is not finite")
    return vectors


def _rows(content: bytes) -> Sequence[object]:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise _malformed("is not JSON") from None
    match answer:
        case {"data": list(rows)}:
            return rows
    raise _malformed("has no list of vectors")


def _read(row: object) -> tuple[int, NDArray[np.float32]]:
    match row:
        case {"index": int(at), "embedding": str(packed)} if not isinstance(at, bool):
            return at, _unpacked(packed)
        case {"index": int(at), "embedding": list(numbers)} if not isinstance(at, bool):
            return at, _listed(numbers)
    raise _malformed("has something else than a vector and its index")


def _unpacked(packed: str) -> NDArray[np.float32]:
    try:
        content = binascii.a2b_base64(packed, strict_mode=True)
        return np.frombuffer(content, NUMBER)
    except ValueError:
        raise _malformed("has a vector that is not base64 of whole numbers") from None


def _listed(numbers: Sequence[object]) -> NDArray[np.float32]:
    if not all(type(number) in (float, int) for number in numbers):
        raise _malformed("has a vector of something else than numbers")
    with np.errstate(over="ignore"):  # which is then not finite
        return np.array(numbers, dtype=np.float64).astype(np.float32)


def _malformed(what: str) -> CallError:
    return CallError("malformed", f"the answer {what}")
