"""hung: when a store that hangs has done no harm."""

import dataclasses

import pytest
from figures import Figures
from hung import HUNG, WELL, Round, holds
from lag import Gap, read_gaps


def round_of(number, convex, p99, longest_gap=0.004, **errors):
    figures = Figures(10.0, 1000, 1000, 16_000, {"p99": p99}, errors, {"program": 1.0})
    return Round(number, "null", convex, figures, longest_gap, 0)


ROUNDS = [
    *(round_of(number, WELL, p99) for number, p99 in enumerate((10.0, 20.0, 30.0))),
    *(round_of(number, HUNG, p99) for number, p99 in enumerate((10.9, 21.0, 60.0))),
]


def test_it_holds_where_most_rounds_are_as_fast_as_the_ones_beside_them():
    assert holds(ROUNDS)


@pytest.mark.parametrize(
    "other",
    [
        round_of(1, HUNG, 23.0),
        round_of(1, HUNG, 21.0, longest_gap=0.051),
        round_of(1, HUNG, 21.0, UNAVAILABLE=1),
        round_of(1, WELL, 18.0),
    ],
    ids=["slower", "the loop was held up", "a failure", "the one beside it was faster"],
)
def test_it_does_not_where_they_are_slower_or_a_call_failed_or_the_loop_was_held_up(other):
    replaced = [other if (one.number, one.convex) == (1, other.convex) else one for one in ROUNDS]
    assert not holds(replaced)


def test_how_long_the_loop_was_held_up_with_convex_well_is_no_fault_of_its_hanging():
    assert holds([dataclasses.replace(one, longest_gap=1.0) if one.convex == WELL else one for one in ROUNDS])


def test_a_gap_that_is_not_written_to_its_end_is_left_for_later(tmp_path):
    file = tmp_path / "gaps"
    file.write_text("1.5 0.01\n2.5 0.02\n3.5 0.")
    assert read_gaps(file) == [Gap(1.5, 0.01), Gap(2.5, 0.02)]
