"""limits.headers: what an answer says of limits, as OpenAI's do."""

import pytest

from embedsvc.limits.bucket import Bucket, Limit
from embedsvc.limits.headers import describe, duration
from embedsvc.store.records import Grant


def bucket(units, remaining, period=60.0, ends=42.5):
    made = Bucket(Limit("x", units, period))
    made.granted(Grant(0, remaining, ends), 0.0)
    return made


def test_a_limit_is_told_with_what_is_left_and_when_it_begins_anew():
    assert describe("requests", [bucket(600, 599)], 0.0) == [
        ("x-ratelimit-limit-requests", "600"),
        ("x-ratelimit-remaining-requests", "599"),
        ("x-ratelimit-reset-requests", "42.5s"),
    ]


def test_of_several_limits_the_one_with_the_smallest_part_left_is_told():
    told = dict(describe("tokens", [bucket(100, 90), bucket(10_000, 500, 3600.0, 1800.0)], 0.0))
    assert told["x-ratelimit-limit-tokens"] == "10000"
    assert told["x-ratelimit-reset-tokens"] == "30m0s"


def test_without_a_limit_nothing_is_told():
    assert describe("tokens", [], 0.0) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0001, "1ms"),
        (0.12, "120ms"),
        (1, "1s"),
        (59.951, "59.951s"),
        (60, "60s"),
        (360, "6m0s"),
        (61.2, "1m2s"),
        (3600, "1h0m0s"),
        (5000, "1h23m20s"),
    ],
)
def test_lengths_of_time_are_written_as_go_does(seconds, text):
    assert duration(seconds) == text
