"""How far two sides find the same, set against the plainest way to compute it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from embedsvc.operator.comparison import agreement, similarity
from embedsvc.operator.comparison.agreement import DEPTHS, Space, agree


def space(seed, queries=20, documents=60, dimensions=16):
    random = np.random.default_rng(seed)
    return Space(
        *(
            similarity.scaled(random.standard_normal((count, dimensions), dtype=np.float32))
            for count in (queries, documents)
        )
    )


def rotated(side, seed):
    """The same space from another direction, in a room of more dimensions."""
    wider = np.random.default_rng(seed).standard_normal((side.dimensions + 8, side.dimensions))
    turn, _ = np.linalg.qr(wider)
    return Space(*(np.float32(vectors @ turn.T) for vectors in (side.queries, side.documents)))


def plain(one, other):
    """What `agree` computes, a query at a time."""
    for of_one, of_other in zip(one.queries, other.queries, strict=True):
        cosines = [np.round(side.documents @ of, 6) for side, of in ((one, of_one), (other, of_other))]
        orders = [sorted(range(len(each)), key=lambda at, each=each: (-each[at], at)) for each in cosines]
        shares = [len(set(orders[0][:k]) & set(orders[1][:k])) / k for k in DEPTHS]
        yield orders[0][:10], orders[1][:10], shares, stats.spearmanr(*cosines).statistic


@given(seed=st.integers(0, 999), queries=st.integers(1, 12), documents=st.integers(10, 50))
@settings(max_examples=30, deadline=None)
def test_it_is_what_the_plain_way_computes(seed, queries, documents):
    one = space(seed, queries, documents, 5)
    other = space(seed + 1, queries, documents, 9)
    found = agree(one, other)
    nearest_one, nearest_other, shares, correlation = zip(*plain(one, other), strict=True)
    np.testing.assert_array_equal(found.nearest[0], nearest_one)
    np.testing.assert_array_equal(found.nearest[1], nearest_other)
    np.testing.assert_allclose(found.overlap, shares)
    np.testing.assert_allclose(found.correlation, correlation, atol=1e-9)


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_a_side_agrees_with_itself(seed):
    found = agree(side := space(seed), side)
    assert (found.overlap == 1).all()
    np.testing.assert_allclose(found.correlation, 1)


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_a_turned_space_says_the_same(seed):
    found = agree(side := space(seed), rotated(side, seed))
    assert found.overlap.mean() > 0.99  # the last digits of float32 may swap two neighbours
    np.testing.assert_allclose(found.correlation, 1, atol=1e-3)


def test_sides_that_have_nothing_in_common_agree_as_chance_does():
    documents = 200
    found = agree(space(1, 400, documents), space(2, 400, documents))
    np.testing.assert_allclose(found.overlap.mean(axis=0), np.array(DEPTHS) / documents, atol=0.012)
    assert abs(found.correlation.mean()) < 0.02


def test_the_opposite_side_has_the_reverse_order():
    side = space(3)
    found = agree(side, Space(-side.queries, side.documents))
    np.testing.assert_allclose(found.correlation, -1, atol=1e-6)
    assert (found.overlap == 0).all()


def test_documents_that_are_level_come_in_the_order_of_the_file():
    side = space(4, queries=3, documents=12)
    level = Space(side.queries, np.repeat(side.documents[:1], 12, axis=0))
    found = agree(side, level)
    assert found.nearest[1].tolist() == [list(range(10))] * 3
    assert (found.correlation == 0).all()  # whom all are level to, says nothing


def test_blocks_change_nothing(monkeypatch):
    one, other = space(5, queries=17), space(6, queries=17)
    whole = agree(one, other)
    monkeypatch.setattr(similarity, "BLOCK_BYTES", 60 * 4 * 5)
    done = []
    parts = agree(one, other, done.append)
    assert done == [5, 5, 5, 2]
    for name in ("overlap", "correlation"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-5)


@pytest.mark.parametrize(("queries", "documents"), [(1, 10), (7, 10**9), (100, 5)])
def test_every_query_is_in_one_block(queries, documents):
    rows = [at for block in similarity.blocks(queries, documents) for at in range(block.start, block.stop)]
    assert rows == list(range(queries))


def test_a_vector_without_a_direction_is_similar_to_nothing():
    vectors = similarity.scaled(np.array([[3, 4], [0, 0]], dtype=np.float32))
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 0]])
    assert similarity.similarities(vectors, vectors).tolist() == [[1, 0], [0, 0]]


def test_no_side_has_all_similarities_at_once():
    rows = next(similarity.blocks(10_000, 50_000))
    assert (rows.stop - rows.start) * 50_000 * 4 <= similarity.BLOCK_BYTES


def test_overlap_is_of_sets():
    one = np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]])
    other = np.array([[4, 1, 2, 3, 0, 19, 18, 17, 16, 15]])
    assert agreement.overlaps(one, other).tolist() == [[0, 1, 0.5]]
