"""The few shapes that a GPU computes: every batch has one that holds it and wastes little."""

import numpy as np
import pytest

from embedsvc.engine.shapes import GROWTH, STEP, Shape, find_shape, lay_out, make_shapes

LARGEST = Shape(tokens=16_384, texts=1024, longest=512)
BATCHES = [[3], [512], [1] * 1024, [16] * 1024, [5, 300, 20], [512] * 32, [128] * 9, [2] * 300]


@pytest.mark.parametrize("lengths", BATCHES, ids=lambda lengths: f"{len(lengths)}x{max(lengths)}")
def test_a_batch_within_the_limits_has_a_shape_that_was_made_ready(lengths):
    shapes = make_shapes(LARGEST)
    found = find_shape(shapes, lengths)
    assert found in shapes
    assert found.tokens >= sum(lengths)
    assert found.texts >= len(lengths)
    assert found.longest >= max(lengths)


@pytest.mark.parametrize("length", [16, 64, 512])
def test_no_more_than_the_growth_from_shape_to_shape_is_empty(length):
    shapes = make_shapes(LARGEST)
    for texts in range(1, LARGEST.tokens // length + 1):
        tokens = texts * length
        assert find_shape(shapes, [length] * texts).tokens <= tokens * GROWTH + STEP


def test_shapes_are_few_and_whole_tiles_the_smallest_first():
    shapes = make_shapes(LARGEST)
    assert len(shapes) <= 40
    assert all(shape.tokens % STEP == 0 for shape in shapes)
    assert [shape.tokens for shape in shapes] == sorted(shape.tokens for shape in shapes)
    assert len(set(shapes)) == len(shapes)
    assert shapes[-1] == LARGEST


@pytest.mark.parametrize("lengths", [[512] * 33, [1] * 1025])
def test_a_batch_beyond_the_limits_gets_a_shape_of_its_own(lengths):
    found = find_shape(make_shapes(LARGEST), lengths)
    assert found == Shape(-(-sum(lengths) // STEP) * STEP, len(lengths), max(lengths))


def test_the_largest_batch_need_not_be_whole_tiles():
    shapes = make_shapes(Shape(tokens=1000, texts=256, longest=512))
    assert shapes[-1] == Shape(tokens=1024, texts=256, longest=512)


def test_a_batch_is_its_ids_then_where_its_texts_start():
    shape = Shape(tokens=8, texts=4, longest=3)
    numbers = np.full(shape.numbers, -1, np.int32)
    lay_out([[7, 8], [9, 10, 11]], shape, numbers)
    assert numbers.tolist() == [7, 8, 9, 10, 11, 0, 0, 0, 0, 2, 5, 5, 5]


def test_ids_may_be_arrays():
    shape = Shape(tokens=4, texts=1, longest=2)
    numbers = np.empty(shape.numbers, np.int32)
    lay_out([np.array([5, 6])], shape, numbers)
    assert numbers.tolist() == [5, 6, 0, 0, 0, 2]
