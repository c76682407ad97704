"""keys.token: what a key looks like, and what is kept of it."""

import hashlib

import pytest

from embedsvc.keys import token


def test_keys_are_long_random_and_marked():
    made = {token.generate() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("emb_") and len(key) == 47 and token.is_key(key) for key in made)


def test_a_digest_is_the_sha256_of_the_key():
    assert token.digest("emb_a") == hashlib.sha256(b"emb_a").hexdigest()


def test_what_is_shown_of_a_key_leaves_more_than_200_bits_unsaid():
    key = token.generate()
    assert key.startswith(token.prefix(key))
    assert (len(key) - len(token.prefix(key))) * 6 > 200


@pytest.mark.parametrize("text", ["", "emb_", "emb_" + "a" * 42, "emb_" + "a" * 44, "sk-" + "a" * 44, "ключ"])
def test_other_texts_are_no_keys(text):
    assert not token.is_key(text)
