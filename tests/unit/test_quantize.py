"""quantize: vectors in fewer bytes, those that sentence-transformers makes of them."""

import numpy as np
import pytest
from sentence_transformers.util.quantization import quantize_embeddings

from embedsvc.calibration import calibration_of
from embedsvc.errors import InvalidRequestError
from embedsvc.quantize import check, quantizer
from embedsvc.types import Embeddings, OutputType

MODEL = "all-MiniLM-L6-v2"
PACKED = (OutputType.INT8, OutputType.UINT8, OutputType.BINARY, OutputType.UBINARY)
CALIBRATED = (OutputType.INT8, OutputType.UINT8)
BITS = (OutputType.BINARY, OutputType.UBINARY)


def unit(rows, dimensions=384, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((rows, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ranges_of(vectors):
    return np.stack([vectors.min(axis=0), vectors.max(axis=0)])


RANGES = ranges_of(unit(1000, seed=1))
CALIBRATION = calibration_of(MODEL, "r", RANGES)


def quantize(vectors, output_type, calibration=CALIBRATION):
    rows = len(vectors)
    answer = Embeddings(MODEL, vectors, [1] * rows, [False] * rows, calibration=calibration)
    return quantizer(answer, output_type)(vectors)


@pytest.mark.parametrize("output_type", PACKED)
@pytest.mark.parametrize("rows", [1, 2, 64, 1000])
def test_bytes_are_those_of_sentence_transformers(output_type, rows):
    vectors = unit(rows, seed=1)  # those that the ranges are of, so that none is outside
    ours, theirs = (
        quantize(vectors, output_type),
        quantize_embeddings(vectors, str(output_type), ranges=RANGES),
    )
    assert (ours.dtype, ours.tobytes()) == (theirs.dtype, theirs.tobytes())


@pytest.mark.parametrize("output_type", CALIBRATED)
def test_values_at_the_edge_of_a_byte_fall_as_those_of_sentence_transformers_do(output_type):
    edges = RANGES[0] + np.arange(256, dtype=np.float32)[:, None] * CALIBRATION.steps
    for vectors in (edges, np.nextafter(edges, np.float32(-1)), np.nextafter(edges, np.float32(1))):
        inside = np.clip(vectors, *RANGES)
        theirs = quantize_embeddings(inside, str(output_type), ranges=RANGES)
        np.testing.assert_array_equal(quantize(inside, output_type), theirs)


@pytest.mark.parametrize(
    ("output_type", "lowest", "highest"), [(OutputType.INT8, -128, 127), (OutputType.UINT8, 0, 255)]
)
def test_values_outside_their_range_take_the_nearest_byte(output_type, lowest, highest):
    width = RANGES[1] - RANGES[0]
    for far in (0.001, 0.5, 1.0, 1e6):
        outside = np.stack([RANGES[0] - far * width, RANGES[1] + far * width])
        below, above = quantize(outside, output_type)
        assert (below == lowest).all()
        assert (above == highest).all()


@pytest.mark.parametrize("output_type", CALIBRATED)
def test_a_dimension_that_never_changes_has_a_step_of_one_as_sentence_transformers_has(output_type):
    ranges = RANGES.copy()
    ranges[1, 7] = ranges[0, 7]
    vectors = unit(10)
    vectors[:, 7] = ranges[0, 7]
    ours = quantize(vectors, output_type, calibration_of(MODEL, "r", ranges))
    np.testing.assert_array_equal(
        ours[:, 7], quantize_embeddings(vectors, str(output_type), ranges=ranges)[:, 7]
    )


@pytest.mark.parametrize("output_type", OutputType)
def test_a_vector_has_the_same_bytes_whatever_its_company(output_type):
    vectors = unit(5, seed=3)
    alone = quantize(vectors[2:3], output_type)
    together = quantize(vectors * np.float32([[1], [100], [1], [0.01], [1]]), output_type)
    assert together[2].tobytes() == alone.tobytes()


@pytest.mark.parametrize(("output_type", "half"), [(OutputType.INT8, 128.5), (OutputType.UINT8, 0.5)])
def test_bytes_become_numbers_again_to_half_a_step(output_type, half):
    vectors = unit(1000, seed=1)
    places = quantize(vectors, output_type).astype(np.float32) + np.float32(half)
    restored = CALIBRATION.starts + places * CALIBRATION.steps
    assert (np.abs(restored - vectors) <= CALIBRATION.steps * 0.501).all()


@pytest.mark.parametrize("output_type", CALIBRATED)
@pytest.mark.parametrize("dimensions", [1, 100, 383])
def test_of_vectors_that_are_cut_the_bytes_are_those_of_whole_ones_cut(output_type, dimensions):
    vectors = unit(20, seed=1)
    cut = quantize(vectors[:, :dimensions], output_type)
    np.testing.assert_array_equal(cut, quantize(vectors, output_type)[:, :dimensions])


def test_float32_is_the_vector_itself_and_no_copy():
    vectors = unit(3)
    assert quantize(vectors, OutputType.FLOAT32) is vectors


def test_float16_is_the_nearest_half():
    vectors = unit(3)
    halves = quantize(vectors, OutputType.FLOAT16)
    assert halves.dtype == np.dtype("<f2")
    np.testing.assert_array_equal(halves, vectors.astype(np.float16))


def test_bits_are_set_above_zero_and_the_first_dimension_is_the_highest():
    vector = np.float32([[1, -1, 0, 0.5, -0.5, 0, 0, 2, -1, -1, -1, -1, -1, -1, -1, 1]])
    assert quantize(vector, OutputType.UBINARY).tolist() == [[0b10010001, 0b00000001]]
    assert quantize(vector, OutputType.BINARY).tolist() == [[0b10010001 - 128, 0b00000001 - 128]]


@pytest.mark.parametrize("output_type", BITS)
def test_bits_need_a_multiple_of_eight(output_type):
    with pytest.raises(InvalidRequestError, match=f"a multiple of 8 for {output_type}; got 12") as caught:
        quantize(unit(1)[:, :12], output_type)
    assert caught.value.param == "dimensions"


@pytest.mark.parametrize("output_type", CALIBRATED)
def test_without_a_calibration_the_command_that_makes_one_is_named(output_type):
    with pytest.raises(
        InvalidRequestError, match=f"not be {output_type} .* `embedsvc calibrate {MODEL}`"
    ) as caught:
        quantize(unit(1), output_type, calibration=None)
    assert caught.value.param == "output_type"


@pytest.mark.parametrize("output_type", set(OutputType) - set(CALIBRATED))
def test_other_types_need_no_calibration_and_no_length(output_type):
    check(output_type, 384, None, MODEL, normalized=False)
    assert len(quantize(unit(2), output_type, calibration=None)) == 2


@pytest.mark.parametrize("output_type", CALIBRATED)
def test_vectors_that_are_not_normalized_are_refused(output_type):
    with pytest.raises(InvalidRequestError, match=f"not be {output_type} .* not normalized") as caught:
        check(output_type, 384, CALIBRATION, MODEL, normalized=False)
    assert caught.value.param == "output_type"
