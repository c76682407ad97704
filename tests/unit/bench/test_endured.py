"""endured: what is seen of a fault under load, and of memory."""

import pytest
from endured import AFTER, BEFORE, Calls, growth, summarize

MOMENT = 1000.0


def calls_with_silence(seconds, begin=MOMENT):
    """Forty calls a second, and none for some seconds."""
    times = [MOMENT - BEFORE + at / 40 + 0.0125 for at in range(round((BEFORE + AFTER) * 40))]
    ended = [time for time in times if not begin <= time < begin + seconds]
    return Calls(ended, [0.1] * len(ended), ["UNAVAILABLE"] * 2)


def test_throughput_is_back_at_the_end_of_the_first_good_quarter_after_a_bad_one():
    seen = summarize("killed", calls_with_silence(2.5), MOMENT, MOMENT)
    assert seen.before == 40
    assert seen.back_seconds == pytest.approx(2.75)
    assert seen.silence_seconds == pytest.approx(2.525)
    assert (seen.slowest_seconds, seen.errors) == (0.1, {"UNAVAILABLE": 2})


def test_of_a_fault_that_lasts_the_time_counts_from_its_end():
    seen = summarize("failing", calls_with_silence(3.0), MOMENT, MOMENT + 2.5)
    assert seen.back_seconds == pytest.approx(0.75)


def test_what_dips_long_after_is_not_the_fault():
    assert summarize("killed", calls_with_silence(1, MOMENT + 5), MOMENT, MOMENT).back_seconds == 0


def test_throughput_that_does_not_return_is_said():
    assert summarize("hangs", calls_with_silence(AFTER), MOMENT, MOMENT).back_seconds is None


def test_a_fault_that_nobody_notices_is_over_at_once():
    assert summarize("killed", calls_with_silence(0), MOMENT, MOMENT).back_seconds == 0


def test_growth_is_of_the_second_half_over_the_first():
    assert growth([100, 100, 100, 103, 103, 103]) == pytest.approx(0.03)
