"""The rows of the table."""

import pytest
from compared import ONE, OTHER, Models, corpus, report

from embedsvc.operator.comparison.report import COLUMNS, rows


async def table(*arguments, **options):
    return {row.measure: row.cells[1:] for row in rows(await report(*arguments, **options))}


async def test_a_row_is_of_each_side_or_of_both():
    found = await table(corpus(6, 40))
    assert list(found.items())[:4] == [
        ("model", (ONE, OTHER, None)),
        ("dimensions", (8, 12, None)),
        ("queries", (None, None, 6)),
        ("documents", (None, None, 40)),
    ]
    assert found["one query, p50 ms"] == (10.0, 200.0, None)
    assert found["documents/s, one caller"] == (2000.0, 100.0, None)
    assert found["overlap at 10 by chance, %"] == (None, None, 25.0)
    assert found["US$ a million tokens"] == (None, 0.02, None)
    assert found["GB a million vectors, float32"] == (0.032, 0.048, None)
    assert {len(row.cells) for row in rows(await report(corpus()))} == {len(COLUMNS)}


async def test_shares_are_percent_and_correlations_are_not():
    made = await report(corpus())
    found = {row.measure: row.both for row in rows(made)}
    assert found["overlap at 5, %"] == pytest.approx(made.agreement.overlap[:, 1].mean() * 100, abs=0.01)
    assert found["rank correlation, mean"] == pytest.approx(made.agreement.correlation.mean(), abs=1e-4)
    assert found["rank correlation, 5th percentile"] <= found["rank correlation, mean"]


async def test_what_is_relevant_is_told_where_it_is_known():
    assert "nDCG at 10, %" not in await table(corpus())
    known = {0: frozenset({0}), 2: frozenset({1, 2})}
    made = await report(corpus(relevant=known))
    found = {row.measure: row.cells[1:] for row in rows(made)}
    assert found["queries with known answers"] == (None, None, 2)
    one, other = (round(side.gain.mean() * 100, 2) for side in made.relevance)
    assert found["nDCG at 10, %"] == (pytest.approx(one), pytest.approx(other), None)


async def test_texts_that_were_left_out_are_counted():
    found = await table(corpus(), Models(bad={ONE: {"query 1", "document xx"}}))
    assert (found["texts left out"], found["queries"], found["documents"]) == (
        (None, None, 2),
        (None, None, 5),
        (None, None, 29),
    )
