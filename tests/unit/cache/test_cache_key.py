"""cache.key: whatever decides a vector decides its key, and nothing else does."""

import base64
import hashlib
import itertools
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from embedsvc.cache.key import Space
from embedsvc.v1.embedding_pb2 import TokenIds

SPACE = Space("all-MiniLM-L6-v2@1/fp32", "query: ", "end", normalized=True)
TEXTS = some.text(some.characters(), max_size=40)  # half surrogate pairs, too
SPACES = some.builds(Space, TEXTS, TEXTS, TEXTS, some.booleans(), TEXTS)
IDS = some.lists(some.integers(0, 2**32 - 1), max_size=20)


def test_a_short_key_is_16_characters_of_the_digests_first_96_bits():
    key = SPACE.key("Hello, world")
    assert len(key.short) == 16
    assert base64.urlsafe_b64decode(key.short) == key[:12]
    assert len(key) == hashlib.sha256().digest_size


def test_the_same_key_comes_of_the_same_in_every_process_and_release():
    assert SPACE.key("Hello, world").short == "Ndpz_Uk1hbUMhrcy"
    assert SPACE.key([1, 2, 3]).short == "Qjw-Ywjw44vGE1GV"
    assert SPACE.key([1, 2, 3], openai_ids=True).short == "vgj5D_LVfSRLtK-u"


@pytest.mark.parametrize(
    "other",
    [
        {"space": "all-MiniLM-L6-v2@1/int8"},
        {"prompt": ""},
        {"truncation": "start"},
        {"normalized": False},
        {"scope": "alice"},
    ],
)
def test_whatever_decides_a_vector_decides_its_key(other):
    assert replace(SPACE, **other).key("text") != SPACE.key("text")


@given(SPACES, SPACES, TEXTS, TEXTS)
def test_keys_are_the_same_only_where_all_is_the_same(space, other, text, second):
    assert (space.key(text) == other.key(second)) == ((space, text) == (other, second))


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_nothing_moves_from_one_field_to_the_next(first, second, third, text):
    spaces = [Space(*fields, normalized=True) for fields in itertools.permutations([first, second, third])]
    spaces += [
        Space(first + second, third, "", normalized=True),
        Space(first, second + third, "", normalized=True),
    ]
    assert len({space.key(text) for space in spaces}) == len(set(spaces))


@given(IDS, TEXTS)
def test_texts_and_ids_of_either_vocabulary_are_told_apart(ids, text):
    keys = {SPACE.key(text), SPACE.key(ids), SPACE.key(ids, openai_ids=True)}
    assert len(keys) == 3


@given(IDS, IDS)
def test_ids_are_told_apart(ids, other):
    assert (SPACE.key(ids) == SPACE.key(other)) == (ids == other)


def test_ids_are_the_same_however_they_came():
    assert SPACE.key(TokenIds(ids=[7, 8]).ids) == SPACE.key([7, 8])


@pytest.mark.parametrize("ids", [[2**64], [-1], [10**300, 5]])
def test_ids_of_no_vocabulary_have_keys_as_well(ids):
    assert SPACE.key(ids) == SPACE.key(list(ids))
    assert SPACE.key(ids) != SPACE.key([1])


def test_ids_of_no_vocabulary_take_no_longer_however_large_they_are():
    ids = [10**300] * 8192
    began = time.perf_counter()
    keys = {SPACE.key(ids) for _ in range(8)}
    assert time.perf_counter() - began < 0.05
    assert keys == {SPACE.key([10**300])}
    assert keys.isdisjoint({SPACE.key([]), SPACE.key("no ids"), SPACE.key(ids, openai_ids=True)})
