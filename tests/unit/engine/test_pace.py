"""pace: what deadlines and the watchdog are held against."""

import pytest

from embedsvc.engine.pace import MEMORY, Pace


def paced(*batches):
    pace = Pace()
    for tokens, seconds in batches:
        pace.record(tokens, seconds)
    return pace


def test_without_a_batch_nothing_is_known():
    assert (Pace().at_best(1000), Pace().at_worst(1000)) == (0.0, 0.0)


def test_the_best_is_the_best_rate_of_late():
    assert paced((100, 1.0), (100, 2.0), (10, 5.0)).at_best(200) == pytest.approx(2.0)


def test_what_short_batches_cost_beside_their_tokens_is_not_multiplied():
    pace = paced((512, 0.05), *[(4, 0.006)] * MEMORY)
    assert pace.at_worst(1024) == pytest.approx(0.006 + 0.1)


def test_the_worst_is_the_longest_batch_of_late_and_the_tokens():
    assert paced((1000, 1.0), (1000, 8.0)).at_worst(1000) == pytest.approx(9.0)


def test_only_the_last_batches_are_remembered():
    pace = paced((1, 60.0), *[(1, 1.0)] * MEMORY)
    assert pace.at_worst(1) == pytest.approx(2.0)


def test_doubt_forgets_the_oldest_batch():
    pace = paced((1, 1.0), (1, 5.0))
    pace.doubt()
    assert pace.at_best(1) == pytest.approx(5.0)
    pace.doubt()
    pace.doubt()
    assert pace.at_best(1) == 0.0
