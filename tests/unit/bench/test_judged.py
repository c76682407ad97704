"""judged: what is wanted beside what was measured, over rounds that have both."""

import plan
import pytest
from figures import Figures, Spread
from judged import GOALS, Goal, Side
from report import Measurement, Run


def run(*measured):
    """A run of (round, scenario, subject, requests, p99) in windows of a second."""
    return Run("", 0.0, {}, {}, {}, [Measurement(*item[:3], _figures(*item[3:])) for item in measured])


def _figures(requests, p99):
    return Figures(1.0, requests, 0, 0, {"p99": p99}, {}, {})


def goal(metric, **changes):
    sides = {"over": Side("calls", ["ours"], metric), "under": Side("calls", ["one", "other"], metric)}
    return Goal("a claim", bound=2.0, **{**sides, **changes})


def test_the_best_of_others_is_the_one_with_the_best_median():
    seen = run(
        (1, "calls", "ours", 100, 5),
        (1, "calls", "one", 20, 8),
        (1, "calls", "other", 40, 4),
    )
    assert goal("requests/s").measure(seen) == Spread(2.5, 2.5, 2.5)
    assert goal("p99").measure(seen) == Spread(1.25, 1.25, 1.25)


BOTH = [(1, "calls", "one", 20, 8), (1, "calls", "other", 40, 4)]
OURS = [(1, "calls", "ours", 100, 5), (2, "calls", "ours", 90, 5)]


@pytest.mark.parametrize(
    "measured",
    [
        OURS,
        [*OURS[:1], *BOTH[:1]],
        [*OURS, *BOTH],
        [*OURS[:1], *BOTH, (2, "calls", "one", 20, 8), (2, "calls", "other", 40, 4)],
    ],
    ids=["no other", "one other", "a round without the others", "a round without ours"],
)
def test_what_was_not_all_measured_in_every_round_is_neither_held_nor_missed(measured):
    assert goal("requests/s").measure(run(*measured)) is None


def test_a_goal_without_another_side_is_the_figure_itself():
    assert goal("requests/s", under=None).measure(run((1, "calls", "ours", 100, 5))).median == 100


@pytest.mark.parametrize(
    ("at_most", "median", "held"), [(False, 2.0, True), (False, 1.9, False), (True, 2.1, False)]
)
def test_a_goal_is_held_by_the_median(at_most, median, held):
    assert goal("requests/s", at_most=at_most).held(Spread(median, 0.0, 9.0)) is held


def test_every_goal_is_of_something_that_is_measured():
    measured = {(served.name, way) for served in plan.SERVED for way in served.ways}
    measured |= {(raw.name, name) for raw in plan.RAW for name in plan.ENCODERS}
    sides = [side for each in GOALS for side in (each.over, each.under) if side]
    assert all((side.scenario, subject) in measured for side in sides for subject in side.subjects)
