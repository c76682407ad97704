"""figures: what is counted, and how rounds are set against each other."""

import pytest
from figures import Call, Figures, Spread, ratio, spread, summarize

CPU = {"callers": 1.0, "program": 4.0, "machine": 5.5}


def call(seconds=1.0, failure=None):
    return Call(texts=2, tokens=10, ended=0.0, seconds=seconds, failure=failure)


def figures(**changes):
    values = {
        "seconds": 5.0,
        "requests": 10,
        "texts": 20,
        "tokens": 100,
        "latency_ms": {"p50": 7.0},
        "errors": {"UNAVAILABLE": 2, "HTTP 500": 1},
        "cpu_seconds": CPU,
    }
    return Figures(**{**values, **changes})


def test_only_good_answers_count_and_failures_are_counted_by_kind():
    seen = summarize([call(), call(), call(failure="UNAVAILABLE")], 2.0, CPU)
    assert (seen.requests, seen.texts, seen.tokens) == (2, 4, 20)
    assert seen.errors == {"UNAVAILABLE": 1}


def test_latencies_are_percentiles_of_the_good_answers_in_milliseconds():
    calls = [*(call(seconds / 1000) for seconds in range(1, 102)), call(seconds=9, failure="HTTP 500")]
    assert summarize(calls, 2.0, CPU).latency_ms == {"p50": 51.0, "p90": 91.0, "p99": 100.0}


def test_a_window_without_a_good_answer_has_no_figures():
    with pytest.raises(RuntimeError, match=r"no good answer in 2\.0 seconds; errors: \{'HTTP 500': 1\}"):
        summarize([call(failure="HTTP 500")], 2.0, CPU)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("requests/s", 2),
        ("texts/s", 4),
        ("tokens/s", 20),
        ("requests/core", 2.5),
        ("texts/core", 5),
        ("p50", 7),
        ("callers", 0.2),
        ("program", 0.8),
        ("others", 0.1),
        ("failures", 3),
    ],
)
def test_a_metric_has_a_name(name, value):
    assert figures().metric(name) == pytest.approx(value)


def test_rounds_are_summed_up_by_their_median_and_their_ends():
    assert spread([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)


def test_a_ratio_is_taken_within_each_round():
    assert ratio([2.0, 20.0, 300.0], [1.0, 10.0, 100.0]) == Spread(2.0, 2.0, 3.0)
