"""fake: deterministic, without weights, and sensitive to every token and its place."""

import numpy as np

from embedsvc.engine import fake


def embed(*batch):
    return fake.FakeEncoder("cpu").encode(list(batch))


def test_the_same_text_gives_the_same_vector_in_every_process_and_batch():
    np.testing.assert_array_equal(embed([0, 5, 1]), embed([9], [0, 5, 1])[1:])
    assert embed([0, 5, 1]).shape == (1, 384)
    assert embed([0, 5, 1]).dtype == np.float32


def test_other_tokens_or_another_order_give_another_vector():
    first, other, swapped = embed([0, 5, 6, 1], [0, 5, 7, 1], [0, 6, 5, 1])
    assert not np.allclose(first, other)
    assert not np.allclose(first, swapped)


def test_every_text_has_tokens_in_the_vocabulary():
    tokenizer = fake.tokenizer()
    text = "".join(map(chr, range(1, 0x3000))) + "🦊"
    assert len(tokenizer.encode(text).ids) == len(text.encode()) + 2
    assert max(tokenizer.encode(text).ids) < 258


def test_the_null_encoder_has_one_vector_for_every_text():
    vectors = fake.NullEncoder("cpu").encode([[0, 5, 1], [0, 1]])
    assert vectors.shape == (2, 384)
    assert vectors.dtype == np.float32
    assert (vectors == vectors[0, 0]).all()
