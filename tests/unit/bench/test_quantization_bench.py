"""quantization: what a number format loses, told from vectors whose loss is known."""

import numpy as np
import pytest
from quantization import measure, nearest, overlap, read

from embedsvc.calibration import calibration_of
from embedsvc.types import OutputType


def unit(rows, seed):
    vectors = np.random.default_rng(seed).standard_normal((rows, 64)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


TEXTS, QUERIES = unit(200, 1), unit(20, 2)
CALIBRATION = calibration_of("m", "r", np.stack([TEXTS.min(axis=0), TEXTS.max(axis=0)]))


def test_the_nearest_are_those_of_the_highest_cosine_whatever_the_lengths():
    texts = np.float32([[1, 0], [0.5, 0.01], [0, 9], [-1, 0]])
    assert nearest(np.float32([[2, 0], [0, 1]]), texts, 2) == [{0, 1}, {2, 1}]


def test_an_overlap_is_the_part_of_the_exact_ones_that_is_found():
    assert overlap([{1, 2}, {3, 4}], [{1, 2}, {3, 9}]) == 0.75
    assert overlap([{1, 2, 3}, {9, 5}], [{1, 2}, {3, 9}]) == 0.75


def test_float32_loses_nothing_and_the_others_more_the_smaller_they_are():
    losses = measure(QUERIES, TEXTS, CALIBRATION)
    assert losses["float32"].overlap == losses["float32"].asymmetric == losses["float32"].wide == 1
    assert losses["float32"].mean_cosine == pytest.approx(1)
    cosines = [losses[name].mean_cosine for name in ("float16", "uint8", "ubinary")]
    assert cosines == sorted(cosines, reverse=True)
    assert [losses[name].bytes for name in map(str, OutputType)] == [256, 128, 64, 64, 8, 8]


def test_signed_and_unsigned_bytes_stand_for_the_same():
    losses = measure(QUERIES, TEXTS, CALIBRATION)
    assert losses["int8"] == losses["uint8"]
    assert losses["binary"] == losses["ubinary"]


def test_bits_stand_for_one_and_minus_one():
    assert read(np.uint8([[0b10100000]]), OutputType.UBINARY, CALIBRATION).tolist() == [
        [1, -1, 1, -1, -1, -1, -1, -1]
    ]
