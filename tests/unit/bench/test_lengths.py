"""lengths: quantiles of what is documented, in ever another order."""

import math
from itertools import islice
from statistics import fmean, median

import pytest
from lengths import LOG_NORMAL_MEDIAN, LONGEST, SHORTEST, STRATA, endless, log_normal, zipf


@pytest.mark.parametrize("distribution", [log_normal, zipf])
def test_lengths_reach_from_the_shortest_to_the_longest(distribution):
    lengths = distribution()
    assert len(lengths) == STRATA
    assert (min(lengths), max(lengths)) == (SHORTEST, LONGEST)


def test_log_normal_lengths_have_the_median_and_the_sigma_that_are_documented():
    lengths = log_normal()
    assert median(lengths) == pytest.approx(LOG_NORMAL_MEDIAN, rel=0.05)
    within_one_sigma = [length for length in lengths if abs(math.log(length / LOG_NORMAL_MEDIAN)) < 1]
    assert len(within_one_sigma) / STRATA == pytest.approx(0.68, abs=0.04)


def test_zipf_lengths_are_as_many_from_5_to_50_as_from_51_to_512():
    assert sum(length <= 50 for length in zipf()) == pytest.approx(STRATA / 2, abs=1)


def test_zipf_has_the_heavier_tail():
    assert fmean(zipf()) > fmean(log_normal())


def test_every_time_around_has_every_length_once_and_another_order():
    lengths = list(islice(endless([1, 2, 3, 4, 5, 6, 7, 8], seed=0), 16))
    assert sorted(lengths[:8]) == sorted(lengths[8:]) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert lengths[:8] != lengths[8:]


def test_the_same_seed_gives_the_same_order():
    first, again, other = (list(islice(endless(zipf(), seed), 100)) for seed in (1, 1, 2))
    assert first == again != other
