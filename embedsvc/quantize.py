"""Float32 vectors in fewer bytes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedsvc.errors import InvalidRequestError
from embedsvc.types import OutputType, Vectors


@dataclass(frozen=True, slots=True)
class Quantized:
    """Vectors as they travel.

    Attributes:
        rows: One row of little-endian bytes for each vector, of any dtype.
        scales: What to multiply int8 and uint8 by, for each vector; zeros for other types.
    """

    rows: NDArray[np.generic]
    scales: Vectors


def quantize(vectors: Vectors, output_type: OutputType) -> Quantized:
    """Convert vectors of shape [texts, dimensions] to an output type.

    int8 and uint8 are symmetric with a scale for each vector, its largest magnitude over 127: no
    calibration, so that the same text always gives the same bytes.

    Raises:
        InvalidRequestError: Binary, and the dimensions are not a multiple of 8.
    """
    none = np.zeros(len(vectors), dtype=np.float32)
    match output_type:
        case OutputType.FLOAT32:
            return Quantized(vectors.astype("<f4", copy=False), none)
        case OutputType.FLOAT16:
            return Quantized(vectors.astype("<f2"), none)
        case OutputType.BINARY | OutputType.UBINARY:
            if vectors.shape[1] % 8:
                raise InvalidRequestError(
                    f"dimensions must be a multiple of 8 for binary vectors; got {vectors.shape[1]}",
                    param="dimensions",
                )
            return Quantized(np.packbits(vectors > 0, axis=1), none)
        case OutputType.INT8 | OutputType.UINT8:
            return _to_bytes(vectors, unsigned=output_type is OutputType.UINT8)


def _to_bytes(vectors: Vectors, *, unsigned: bool) -> Quantized:
    scales = np.abs(vectors).max(axis=1, initial=0.0).astype(np.float32) / np.float32(127)
    steps = np.rint(vectors / np.where(scales > 0, scales, 1)[:, None])
    if unsigned:
        return Quantized((steps + 128).astype(np.uint8), scales)
    return Quantized(steps.astype(np.int8), scales)
