"""Float32 vectors in fewer bytes, as sentence-transformers' quantize_embeddings makes them of set ranges."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from embedsvc.calibration import STEPS, Calibration
from embedsvc.errors import InvalidRequestError
from embedsvc.types import Embeddings, OutputType, Vectors

HALF = np.uint8(128)
"""What signed bytes are less than unsigned ones."""

FLOAT32 = np.dtype("<f4")

Packed = NDArray[np.generic]
"""A row of little-endian bytes for each vector, of any dtype."""


def check(
    output_type: OutputType,
    dimensions: int,
    calibration: Calibration | None,
    model: str,
    *,
    normalized: bool = True,
) -> None:
    """Check that vectors of a model can be given in an output type.

    Args:
        output_type: Which.
        dimensions: How many of each vector.
        calibration: The model's; None where it has none.
        model: Its name, for the message.
        normalized: Whether vectors have length 1, which calibrations are for.

    Raises:
        InvalidRequestError: They cannot.
    """
    if output_type.is_bits and dimensions % 8:
        raise InvalidRequestError(
            f"dimensions must be a multiple of 8 for {output_type}; got {dimensions}", param="dimensions"
        )
    if output_type.is_calibrated and calibration is None:
        raise InvalidRequestError(
            f"output_type must not be {output_type} for {model}, which has no calibration; the operator can "
            f"make one with `embedsvc calibrate {model}`",
            param="output_type",
        )
    if output_type.is_calibrated and not normalized:
        raise InvalidRequestError(
            f"output_type must not be {output_type} for vectors that are not normalized: calibrations are of "
            "vectors of length 1",
            param="output_type",
        )


def quantizer(embeddings: Embeddings, output_type: OutputType) -> Callable[[Vectors], Packed]:
    """Return what converts the vectors of an answer, or some of them, to an output type.

    For int8 and uint8 they must be normalized, or the leading dimensions of normalized ones. A value outside
    its range takes the lowest or the highest byte. No vector's bytes depend on the others.

    Raises:
        InvalidRequestError: They cannot be given in it; see `check`.
    """
    if output_type is OutputType.FLOAT32:  # most ask for it, and it always can be given
        return _as_it_is
    calibration, dimensions = embeddings.calibration, embeddings.vectors.shape[1]
    check(output_type, dimensions, calibration, embeddings.model)
    match output_type, calibration:
        case OutputType.UBINARY, _:
            return _bits
        case OutputType.BINARY, _:
            return lambda vectors: _signed(_bits(vectors))
        case OutputType.UINT8, Calibration():
            return lambda vectors: _bytes(vectors, calibration)
        case OutputType.INT8, Calibration():
            return lambda vectors: _signed(_bytes(vectors, calibration))
    return lambda vectors: vectors.astype("<f2")


def _as_it_is(vectors: Vectors) -> NDArray[np.float32]:
    return vectors.astype(FLOAT32, copy=False)


def _bits(vectors: Vectors) -> NDArray[np.uint8]:
    return np.packbits(vectors > 0, axis=1)


def _bytes(vectors: Vectors, calibration: Calibration) -> NDArray[np.uint8]:
    kept = slice(vectors.shape[1])
    places = vectors - calibration.starts[kept]
    places /= calibration.steps[kept]
    np.clip(places, 0, STEPS, out=places)
    return places.astype(np.uint8)


def _signed(unsigned: NDArray[np.uint8]) -> NDArray[np.int8]:
    return (unsigned ^ HALF).view(np.int8)
