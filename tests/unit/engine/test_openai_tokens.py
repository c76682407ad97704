"""openai_tokens: cl100k_base ids back into text, offline."""

import pytest

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


def test_a_file_that_is_not_openai_s_is_never_used(monkeypatch):
    monkeypatch.setattr(openai_tokens, "SHA256", "0" * 64)
    with pytest.raises(RuntimeError, match="not OpenAI's file"):
        openai_tokens._encoding.__wrapped__()
