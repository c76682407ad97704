"""How long texts are, in tokens: evenly spaced quantiles of a distribution, in ever another order.

Quantiles, not draws: any few dozen texts in a row are spread like all of them, so that windows of some
seconds can be compared.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from statistics import NormalDist

SHORTEST, LONGEST = 5, 512
"""Of mixed lengths: a few words, and what BERT reads at most; special tokens counted."""

STRATA = 64
"""Lengths of one time around."""

LOG_NORMAL_MEDIAN, LOG_NORMAL_SIGMA = 48, 1.0
"""Sentences and paragraphs, and some pages among them."""

ZIPF_EXPONENT = 1.0
"""A text of n tokens is as likely as 1/n: as many from 5 to 50 tokens as from 51 to 512."""


def log_normal() -> list[int]:
    """Quantiles of a log-normal distribution that is cut off at the shortest and the longest."""
    distribution = NormalDist(math.log(LOG_NORMAL_MEDIAN), LOG_NORMAL_SIGMA)
    low, high = (distribution.cdf(math.log(end)) for end in (SHORTEST, LONGEST))
    return [round(math.exp(distribution.inv_cdf(low + (high - low) * share))) for share in _shares()]


def zipf() -> list[int]:
    """Quantiles of Zipf's law between the shortest and the longest."""
    lengths = range(SHORTEST, LONGEST + 1)
    weights = list(accumulate(length**-ZIPF_EXPONENT for length in lengths))
    return [lengths[bisect_left(weights, share * weights[-1])] for share in _shares()]


def endless(lengths: Sequence[int], seed: int) -> Iterator[int]:
    """Every length once in a random order, and so again and again; the same for the same seed."""
    source = random.Random(seed)
    while True:
        yield from source.sample(lengths, len(lengths))


def _shares() -> list[float]:
    return [at / (STRATA - 1) for at in range(STRATA)]
