"""operator.numbers: what a number on the command line may be."""

import argparse

import pytest

from embedsvc.operator import numbers


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("600", 600), ("1000000000000", 10**12)])
def test_a_limit_is_a_whole_number_that_every_store_can_hold(text, number):
    assert numbers.count(text) == number


@pytest.mark.parametrize("text", ["0", "-1", "1000000000001", "1.5", "1e3", "many", "", "nan", "inf"])
def test_what_is_no_limit_is_told_with_the_bounds(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be a number from 1 to 1,000,000,000,000"):
        numbers.count(text)


@pytest.mark.parametrize(("text", "number"), [("0", 0.0), ("0.5", 0.5), ("30", 30.0), ("36500", 36_500.0)])
def test_days_may_be_none_or_parts(text, number):
    assert numbers.days(text) == number


@pytest.mark.parametrize("read", [numbers.days, numbers.lifetime, numbers.whole_days])
@pytest.mark.parametrize("text", ["-1", "36501", "1e300", "nan", "inf", "-inf", "soon", ""])
def test_a_time_that_no_clock_shows_is_none(read, text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be a number from"):
        read(text)


def test_a_key_lives_for_a_while_at_least():
    assert numbers.lifetime("0.001") == 0.001
    with pytest.raises(argparse.ArgumentTypeError, match=r"from 0\.001"):
        numbers.lifetime("0")


def test_a_report_is_of_a_day_at_least():
    assert numbers.whole_days("1") == 1
    with pytest.raises(argparse.ArgumentTypeError, match="from 1 to 36,500"):
        numbers.whole_days("0")
