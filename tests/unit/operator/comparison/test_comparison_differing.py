"""The queries on which sides differ most, with what each finds."""

import numpy as np
from compared import corpus

from embedsvc.operator.comparison.agreement import Agreement, overlaps
from embedsvc.operator.comparison.differing import FOUND, LONG, MOST, differing, shortened

TEN = np.arange(10)


def agreement(one, other, correlation=None):
    one, other = np.stack(one), np.stack(other)
    correlation = np.zeros(len(one)) if correlation is None else np.array(correlation)
    return Agreement((one, other), overlaps(one, other), correlation)


def test_the_query_with_the_least_in_common_comes_first():
    found = agreement([TEN] * 4, [TEN + 3, TEN + 9, TEN, TEN + 9], [0.5, 0.4, 0.9, 0.2])
    listed = list(differing(corpus(4), found))
    assert [(query.text, query.shared) for query in listed] == [
        ("query 3", 1),
        ("query 1", 1),
        ("query 0", 7),
    ]
    assert [query.correlation for query in listed] == [0.2, 0.4, 0.5]


def test_each_side_shows_its_nearest_and_where_the_other_has_them():
    (query,) = differing(corpus(1, relevant={0: frozenset({3})}), agreement([TEN], [TEN[::-1] + 2]))
    one, other = query.found
    assert len(one) == len(other) == FOUND
    assert [found.text for found in one] == [
        "document",
        "document x",
        "document xx",
        "document xxx",
        "document xxxx",
    ]
    assert [found.elsewhere for found in one] == [None, None, 10, 9, 8]
    assert [found.elsewhere for found in other] == [None, None, 10, 9, 8]
    assert [found.relevant for found in one] == [False, False, False, True, False]
    assert one[0].place == "texts.jsonl line 2"


def test_no_more_are_shown_than_one_reads():
    assert len(list(differing(corpus(20), agreement([TEN] * 20, [TEN + 9] * 20)))) == MOST


def test_sides_that_find_the_same_differ_nowhere():
    assert list(differing(corpus(2), agreement([TEN] * 2, [TEN[::-1]] * 2))) == []


def test_long_texts_are_cut_and_stand_on_one_line():
    assert shortened(" a\n\tb ") == "a b"
    assert shortened("x" * LONG) == "x" * LONG
    assert shortened("x" * 999) == "x" * (LONG - 1) + "…"
