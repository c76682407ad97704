"""texts: passages of an exact length in the model's tokens, and none twice."""

from itertools import islice

import pytest
from texts import Passages, open_supply
from tokenizers import Tokenizer

from embedsvc.config import ModelSettings
from embedsvc.engine import files

WORDS = [f"w{number}" for number in range(100)]


@pytest.fixture(scope="module")
def tokenizer_file():
    return files.find("all-MiniLM-L6-v2", ModelSettings()).folder / "tokenizer.json"


@pytest.fixture(scope="module")
def supply(tokenizer_file):
    return open_supply(tokenizer_file)


@pytest.mark.parametrize("length", [5, 8, 16, 64, 511, 512])
def test_a_passage_of_the_novel_has_as_many_tokens_as_asked_for(supply, tokenizer_file, length):
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for text in islice(supply.texts([length], seed=0), 20):
        assert len(tokenizer.encode(text.text).ids) == text.tokens == length


def test_texts_come_in_the_lengths_asked_for(supply):
    assert sorted(text.tokens for text in islice(supply.texts([8, 16, 64], seed=0), 3)) == [8, 16, 64]


def test_no_text_comes_twice_though_many_more_are_asked_for_than_there_are_words():
    passages = Passages(WORDS, [1] * len(WORDS))
    texts = [passages.cut(tokens=7).text for _ in range(2000)]
    assert len(set(texts)) == 2000


def test_the_first_passages_are_the_text_as_it_stands():
    passages = Passages(WORDS, [1] * len(WORDS))
    for _ in range(len(WORDS) // 2):
        assert passages.cut(tokens=7).text in " ".join(WORDS)


def test_a_place_where_no_word_ends_at_the_length_is_passed_over():
    passages = Passages(["one", "three", "two", "one"], [1, 3, 2, 1])
    assert {passages.cut(tokens=5).text for _ in range(2)} == {"three", "two one"}


def test_numbers_never_come_twice_whatever_asks_for_them(supply):
    first, then = (list(islice(supply.texts([], seed), 50)) for seed in (0, 0))
    assert len({text.text for text in first + then}) == 100
