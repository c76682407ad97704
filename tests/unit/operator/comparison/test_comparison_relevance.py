"""How well a side finds what is known to answer a query, against scikit-learn and by hand."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from embedsvc.operator.comparison.relevance import judge

FOUND = np.arange(10)[None]


def test_a_side_that_puts_what_is_relevant_first_has_all():
    judged = judge(FOUND, {0: frozenset({0})})
    assert judged.recall.tolist() == [[1, 1, 1]]
    assert judged.gain.tolist() == [1]


def test_by_hand():
    judged = judge(FOUND, {0: frozenset({1, 6, 40, 41})})
    assert judged.recall.tolist() == [[0, 0.25, 0.5]]
    ideal = sum(1 / math.log2(1 + rank) for rank in (1, 2, 3, 4))
    assert math.isclose(judged.gain[0], (1 / math.log2(3) + 1 / math.log2(8)) / ideal)


def test_more_relevant_documents_than_places_can_still_be_perfect():
    judged = judge(FOUND, {0: frozenset(range(30))})
    assert math.isclose(judged.gain[0], 1)
    assert judged.recall.tolist() == [[1 / 30, 5 / 30, 10 / 30]]


def test_queries_of_which_nothing_is_known_do_not_count():
    judged = judge(np.repeat(FOUND, 3, axis=0), {2: frozenset({99})})
    assert (judged.recall.tolist(), judged.gain.tolist()) == ([[0, 0, 0]], [0])


@given(seed=st.integers(0, 999), relevant=st.sets(st.integers(0, 29), min_size=1))
@settings(max_examples=50, deadline=None)
def test_the_gain_is_that_of_scikit_learn(seed, relevant):
    scores = np.random.default_rng(seed).permutation(30)
    truth = np.array([[at in relevant for at in range(30)]], dtype=float)
    judged = judge(np.argsort(-scores)[None, :10], {0: frozenset(relevant)})
    assert math.isclose(judged.gain[0], ndcg_score(truth, scores[None], k=10))
