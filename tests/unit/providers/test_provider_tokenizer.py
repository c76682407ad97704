"""providers.tokenizer: cl100k_base with the rules of length of a model's own vocabulary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsvc.engine import openai_tokens
from embedsvc.engine.tokenizer import Asked
from embedsvc.errors import ContextLengthExceededError, InvalidRequestError
from embedsvc.providers.tokenizer import Cl100kTokenizer
from embedsvc.types import Truncation

TOKENIZER = Cl100kTokenizer("openai/text-embedding-3-small", 8)
SHORT = "one two three"
LONG = "one two three four five six seven eight nine ten"


def answer(*inputs, **values):
    return TOKENIZER.encode([Asked(list(inputs), lambda at: f"input[{at}]", **values)])[0]


def text(tokenized):
    return openai_tokens.decode(tokenized.ids, "input")


@given(st.text(min_size=1, max_size=4))
def test_a_text_that_fits_is_sent_as_it_came(sent):
    (found,) = Cl100kTokenizer("m", 100).encode([Asked([sent], str)])[0]
    assert (text(found), found.truncated) == (sent, False)


def test_a_prompt_goes_before_each_and_counts():
    (found,) = answer(SHORT, prompt="query: ")
    assert text(found) == f"query: {SHORT}"
    assert len(found.ids) == 6


def test_a_long_text_loses_its_end():
    (found,) = answer(LONG)
    assert (text(found), found.truncated) == ("one two three four five six seven eight", True)


def test_or_its_beginning_but_not_its_prompt():
    (found,) = answer(LONG, prompt="query: ", truncation=Truncation.START)
    assert (text(found), found.truncated) == ("query:  six seven eight nine ten", True)


def test_or_is_refused_by_what_the_caller_calls_it():
    well, found = answer(SHORT, LONG, truncation=Truncation.NONE)
    assert text(well) == SHORT
    assert isinstance(found, ContextLengthExceededError)
    assert found.param == "input[1]"
    assert found.message == (
        "input[1] has 10 tokens; openai/text-embedding-3-small reads 8 at most. "
        "Shorten it, or allow truncation"
    )


@pytest.mark.parametrize("truncation", [Truncation.START, Truncation.END])
def test_no_character_is_cut(truncation):
    (found,) = answer("🦊" * 10, truncation=truncation)
    assert text(found) == "🦊🦊"  # three tokens each
    assert found.truncated


def test_ids_are_openai_s_and_are_sent_as_text():
    (found,) = answer([9906, 11, 1917])
    assert (found.ids, text(found)) == ([9906, 11, 1917], "Hello, world")


def test_ids_that_openai_would_not_make_count_as_the_text_that_is_sent():
    spelled = [openai_tokens.encode([letter])[0][0] for letter in "hello"]
    (found,) = answer(spelled)
    assert found.ids == openai_tokens.encode(["hello"])[0]


def test_ids_that_there_are_none_of_name_the_input():
    well, found = answer(SHORT, [100_300])
    assert text(well) == SHORT
    assert isinstance(found, InvalidRequestError)
    assert found.param == "input[1]"


def test_what_is_wrong_already_stays_so():
    wrong = InvalidRequestError("it is wrong")
    assert answer(wrong, SHORT)[0] is wrong


def test_requests_are_answered_apart():
    asked = [Asked([SHORT], str), Asked([], str), Asked([LONG, SHORT], str)]
    assert [len(items) for items in TOKENIZER.encode(asked)] == [1, 0, 2]
