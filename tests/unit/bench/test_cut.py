"""encoders.cut: batches without a server, as large as the service makes them."""

from encoders import cut


def test_batches_are_as_large_as_tokens_and_texts_allow_in_order():
    assert list(cut([4, 4, 4, 1, 1, 1], 8, 2)) == [range(2), range(2, 4), range(4, 6)]


def test_a_text_that_is_larger_than_a_batch_is_one_of_its_own():
    assert list(cut([1, 9, 1], 8, 32)) == [range(1), range(1, 2), range(2, 3)]


def test_no_texts_make_no_batch():
    assert list(cut([], 8, 32)) == []
