"""grouping: neighbours are put together, as long as they are small."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from embedsvc.grouping import by_size

MOST = 100


@given(st.lists(st.sampled_from([0, 1, 30, MOST, MOST + 1]), max_size=12))
def test_runs_are_all_items_in_their_order_and_small_unless_one_item_is_not(lengths):
    items = ["x" * length for length in lengths]
    runs = [items[run] for run in by_size(items, MOST)]
    assert [item for run in runs for item in run] == items
    assert all(len(run) == 1 or sum(map(len, run)) <= MOST for run in runs)


@given(st.lists(st.integers(0, MOST), min_size=1, max_size=12))
def test_no_two_runs_that_follow_each_other_would_have_been_one(lengths):
    items = ["x" * length for length in lengths]
    runs = [items[run] for run in by_size(items, MOST)]
    for run, after in pairwise(runs):
        assert sum(map(len, run)) + len(after[0]) > MOST


def test_of_nothing_there_is_one_run_that_is_empty():
    assert list(by_size([], MOST)) == [slice(0, 0)]
