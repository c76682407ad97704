"""agreement: figures of wrong vectors are refused."""

import numpy as np
import pytest
from agreement import least_cosine, refusal

REFERENCE = np.array([[1.0, 0.0], [0.0, 2.0]], dtype=np.float32)


def test_the_least_cosine_is_that_of_the_worst_text_whatever_the_lengths_of_vectors():
    assert least_cosine(3 * REFERENCE, REFERENCE) == pytest.approx(1)
    assert least_cosine(np.array([[1.0, 1.0], [0.0, 1.0]]), REFERENCE) == pytest.approx(0.5**0.5)


def test_vectors_of_another_shape_or_without_numbers_are_refused():
    for wrong in (REFERENCE[:1], np.full_like(REFERENCE, np.nan)):
        assert refusal(least_cosine(wrong, REFERENCE), 0.9999) is not None


def test_vectors_that_are_near_enough_are_not():
    assert refusal(0.99995, 0.9999) is None
    assert "0.9850" in refusal(0.985, 0.9999)
