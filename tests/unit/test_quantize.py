"""quantize: vectors in fewer bytes."""

import numpy as np
import pytest

from embedsvc.errors import InvalidRequestError
from embedsvc.quantize import quantize
from embedsvc.types import OutputType

VECTORS = np.random.default_rng(1).standard_normal((5, 16), dtype=np.float32)


def cosines(left, right):
    left, right = left.astype(np.float64), right.astype(np.float64)
    return (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


def test_float32_is_the_vector_itself():
    quantized = quantize(VECTORS, OutputType.FLOAT32)
    assert quantized.rows.tobytes() == VECTORS.astype("<f4").tobytes()
    assert not quantized.scales.any()


def test_float16_is_the_nearest_half():
    quantized = quantize(VECTORS, OutputType.FLOAT16)
    assert quantized.rows.dtype == np.dtype("<f2")
    np.testing.assert_array_equal(quantized.rows, VECTORS.astype(np.float16))


@pytest.mark.parametrize(
    ("kind", "dtype", "zero"), [(OutputType.INT8, np.int8, 0), (OutputType.UINT8, np.uint8, 128)]
)
def test_bytes_times_scale_are_the_vector_to_half_a_step(kind, dtype, zero):
    quantized = quantize(VECTORS, kind)
    assert quantized.rows.dtype == dtype
    restored = (quantized.rows.astype(np.float32) - zero) * quantized.scales[:, None]
    assert (np.abs(restored - VECTORS) <= quantized.scales[:, None] * 0.5001).all()
    assert (cosines(restored, VECTORS) > 0.999).all()


@pytest.mark.parametrize(
    ("kind", "expected"), [(OutputType.INT8, [-127, 0, 64, 127]), (OutputType.UINT8, [1, 128, 192, 255])]
)
def test_the_largest_magnitude_takes_the_whole_range(kind, expected):
    quantized = quantize(np.array([[-2, 0, 1.01, 2]], dtype=np.float32), kind)
    assert quantized.rows.tolist() == [expected]
    assert quantized.scales == pytest.approx([2 / 127])


@pytest.mark.parametrize("kind", [OutputType.INT8, OutputType.UINT8])
def test_a_vector_gives_the_same_bytes_whatever_its_company(kind):
    alone = quantize(VECTORS[2:3], kind)
    together = quantize(VECTORS * [[1], [100], [1], [0.01], [1]], kind)
    np.testing.assert_array_equal(alone.rows[0], together.rows[2])


@pytest.mark.parametrize(("kind", "zero"), [(OutputType.INT8, 0), (OutputType.UINT8, 128)])
def test_a_zero_vector_stays_zero(kind, zero):
    quantized = quantize(np.zeros((1, 4), dtype=np.float32), kind)
    assert quantized.rows.tolist() == [[zero] * 4]
    assert quantized.scales.tolist() == [0]


def test_binary_has_a_bit_for_each_dimension_highest_first_set_above_zero():
    vector = np.array([[1, -1, 0, 0.5, -0.5, 0, 0, 2, -1, -1, -1, -1, -1, -1, -1, 1]], dtype=np.float32)
    assert quantize(vector, OutputType.BINARY).rows.tobytes() == bytes([0b10010001, 0b00000001])


def test_binary_needs_a_multiple_of_eight():
    with pytest.raises(InvalidRequestError, match="multiple of 8 for binary vectors; got 12") as caught:
        quantize(VECTORS[:, :12], OutputType.BINARY)
    assert caught.value.param == "dimensions"


@pytest.mark.parametrize("kind", OutputType)
def test_every_type_has_a_row_and_a_scale_for_each_vector(kind):
    quantized = quantize(VECTORS, kind)
    assert len(quantized.rows) == len(VECTORS)
    assert quantized.scales.shape == (len(VECTORS),)
