"""Where the rows of a packed batch belong, as the device finds it."""

import numpy as np
import pytest
import torch

from embedsvc.engine.places import TILE, find_blocks, find_places

STARTS = torch.tensor([0, 2, 5, 5, 5], dtype=torch.int32)  # two texts of four, in eight rows


def test_every_row_knows_its_text_and_rows_behind_the_last_are_texts_of_their_own():
    places = find_places(STARTS, rows=8, longest=3)
    assert places.first.tolist() == [0, 0, 2, 2, 2, 5, 6, 7]
    assert places.end.tolist() == [2, 2, 5, 5, 5, 6, 7, 8]
    assert places.positions.tolist() == [0, 1, 0, 1, 2, 0, 0, 0]


def test_without_any_text_every_row_is_its_own():
    places = find_places(torch.zeros(3, dtype=torch.int32), rows=4, longest=1)
    assert places.first.tolist() == [0, 1, 2, 3]
    assert places.positions.tolist() == [0, 0, 0, 0]


def test_a_full_batch_has_no_rows_behind_it():
    places = find_places(torch.tensor([0, 3, 4], dtype=torch.int32), rows=4, longest=3)
    assert places.first.tolist() == [0, 0, 0, 3]
    assert places.end.tolist() == [3, 3, 3, 4]


@pytest.mark.parametrize("lengths", [[128] * 4, [500], [5, 300, 90, 1, 100], [127, 2, 127, 200], [1]])
def test_the_tiles_that_attention_meets_are_those_with_a_pair_of_one_text(lengths):
    rows = 512
    starts = torch.tensor(np.concatenate([[0], np.cumsum(lengths)]), dtype=torch.int32)
    places = find_places(starts, rows, longest=512)
    row = torch.arange(rows)
    pairs = (row >= places.first[:, None]) & (row < places.end[:, None])
    wanted = pairs.view(rows // TILE, TILE, rows // TILE, TILE).any(3).any(1)
    counts, indices = find_blocks(places)
    for tile, meets in enumerate(wanted):
        found = indices[0, 0, tile, : counts[0, 0, tile]]
        assert found.tolist() == meets.nonzero().flatten().tolist()
