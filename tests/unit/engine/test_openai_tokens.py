"""openai_tokens: text into cl100k_base ids and back, offline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from embedsvc.engine import openai_tokens
from embedsvc.errors import InvalidRequestError
from embedsvc.v1 import embedding_pb2 as pb


@pytest.mark.parametrize(
    ("ids", "text"),  # as OpenAI's own tokenizer page shows them
    [
        ([9906, 11, 1917], "Hello, world"),
        ([15339, 1917], "hello world"),
        ([83, 1609, 5963, 374, 2294, 0], "tiktoken is great!"),
        ([9468, 99, 232], "🦊"),
        ([100257], "<|endoftext|>"),
        ([100276], "<|endofprompt|>"),
    ],
)
def test_ids_become_the_text_that_they_stand_for(ids, text):
    assert openai_tokens.decode(ids, "input") == text


def test_ids_may_come_straight_from_a_message():
    ids = pb.TokenIds(ids=[9906, 11, 1917]).ids
    assert openai_tokens.decode(ids, "input") == "Hello, world"


def test_half_a_character_becomes_the_replacement_character():
    assert openai_tokens.decode([9468, 99], "input") == "\ufffd"


@pytest.mark.parametrize("bad", [100256, 100261, 100277, 2**32 - 1, 2**32, 10**20, -1])
def test_an_id_that_openai_does_not_have_names_the_input(bad):
    with pytest.raises(InvalidRequestError, match="cl100k_base") as caught:
        openai_tokens.decode([9906, bad], "input[3]")
    assert caught.value.param == "input[3]"


@pytest.mark.parametrize(
    ("text", "ids"),  # as OpenAI's own tokenizer page shows them
    [
        ("Hello, world", [9906, 11, 1917]),
        ("hello world", [15339, 1917]),
        ("tiktoken is great!", [83, 1609, 5963, 374, 2294, 0]),
        ("🦊", [9468, 99, 232]),
        ("2 + 2 = 4", [17, 489, 220, 17, 284, 220, 19]),
        ("お誕生日おめでとう", [33334, 45918, 243, 21990, 9080, 33334, 62004, 16556, 78699]),
    ],
)
def test_text_becomes_the_ids_that_openai_gives_it(text, ids):
    assert openai_tokens.encode([text]) == [ids]


def test_text_is_parted_as_openai_parts_it(monkeypatch):
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_args, **_values: {})
    published = openai_public.cl100k_base()
    assert published["pat_str"] == openai_tokens.PATTERN
    assert published["special_tokens"] == openai_tokens.SPECIAL


@given(st.text())
def test_ids_of_a_text_stand_for_exactly_it(text):
    (ids,) = openai_tokens.encode([text])
    assert openai_tokens.decode(ids, "input") == text


@pytest.mark.parametrize("text", list(openai_tokens.SPECIAL))
def test_what_looks_like_a_special_token_is_text(text):
    (ids,) = openai_tokens.encode([f"a{text}b"])
    assert not set(ids) & set(openai_tokens.SPECIAL.values())
    assert openai_tokens.decode(ids, "input") == f"a{text}b"


@given(st.text(min_size=4), st.data())
def test_what_is_cut_ends_and_begins_with_whole_characters(text, data):
    (ids,) = openai_tokens.encode([text])
    most = data.draw(st.integers(4, max(4, len(ids))))
    head, tail = openai_tokens.first(ids, most), openai_tokens.last(ids, most)
    assert text.startswith(openai_tokens.decode(head, "input"))
    assert text.endswith(openai_tokens.decode(tail, "input"))
    assert min(most, len(ids)) - 3 <= min(len(head), len(tail)) <= max(len(head), len(tail)) <= most


@given(st.text(min_size=1), st.data())
def test_what_is_cut_has_as_many_tokens_when_it_is_read_as_text_again(text, data):
    (ids,) = openai_tokens.encode([text])
    head = openai_tokens.first(ids, data.draw(st.integers(1, len(ids))))
    (again,) = openai_tokens.encode([openai_tokens.decode(head, "input")])
    assert len(again) <= len(head)


def test_a_file_that_is_not_openai_s_is_never_used(monkeypatch):
    monkeypatch.setattr(openai_tokens, "SHA256", "0" * 64)
    with pytest.raises(RuntimeError, match="not OpenAI's file"):
        openai_tokens._encoding.__wrapped__()
