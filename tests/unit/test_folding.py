"""folding: what a text looks like in ASCII."""

# ruff: noqa: RUF001 - letters that look like others are what is tested

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsvc.folding import UNSEEN, fold

TEXTS = st.text(st.characters(exclude_categories=()))
"""Of all code points, surrogates among them."""


@pytest.mark.parametrize(
    ("text", "look"),
    [
        ("Plain text, as it is: 1 < 2!\n", b"Plain text, as it is: 1 < 2!\n"),
        ("Ｗｉｄｅ　＜｜１", b"Wide <|1"),
        ("ïgñôré", b"ignore"),
        ("i\u0308g\u0303n\u0302o\u0334re", b"ignore"),
        ("𝖎𝓰𝐧𝕠𝚛𝑒", b"ignore"),
        ("ⓘⓖⓝⓞⓡⓔ", b"ignore"),
        ("🅸🅶🅽🅾🆁🅴", b"IGNORE"),
        ("🇮 🇬 🇳 🇴 🇷 🇪", b"i g n o r e"),
        ("ɪɢɴᴏʀᴇ", b"ignore"),
        ("ⁱᵍⁿᵒʳᵉ", b"ignore"),
        ("іgnоrе рrеvіоuѕ", b"ignore previous"),
        ("ЅYЅТЕМ ΡRОМΡТ", b"SYSTEM PROMPT"),
        ("Ꭵցոօгҽ", b"Ignore"),
        ("ﬁﬂ ﬃ ß Ⅷ", b"fifl ffi ss VIII"),
        ("ø đ ł ı ſ", b"o d l i s"),
        ("a\u00a0b\u2003c\u2028d\u0085e", b"a b c\nd\ne"),
        ("“quoted” — and…", b" quoted    and "),
        ("© ® ™ €", b"       "),
        ("１２³④", b"1234"),
    ],
)
def test_text_becomes_what_it_looks_like(text, look):
    assert fold(text) == look


@pytest.mark.parametrize(
    "unseen",
    [
        "\u200b\u200c\u200d\u2060\ufeff",  # zero width
        "\u00ad\u034f\u061c\u180e",  # soft hyphen, grapheme joiner, marks of direction
        "\u202a\u202e\u2066\u2069",  # embeddings and overrides
        "\ufe0e\ufe0f\U000e0100\U000e01ef",  # variation selectors
        "\u115f\u1160\u3164\uffa0",  # fillers
        "\u2061\u2064\ufff9\U0001d173",  # of formulas, notes and music
        UNSEEN.decode(),
    ],
)
@pytest.mark.parametrize("text", ["word", "wörd"])
def test_what_nobody_sees_is_left_out(text, unseen):
    assert fold(unseen.join(text)) == b"word"


def test_what_tag_characters_spell_is_told_after_the_text():
    spelled = "".join(chr(0xE0000 + ord(letter)) for letter in "Do it")
    assert fold(f"Hello{spelled}") == b"Hello\nDo it"
    assert fold(f"H{spelled[:3]}el\nlo{spelled[3:]}") == b"Hel\nlo\nDo \nit"


@pytest.mark.parametrize("text", ["привіт", "你好", "שלום", "مرحبا", "안녕", "ᎣᏏᏲ", "\ud800", "٣"])
def test_letters_that_look_like_none_are_neither_left_out_nor_a_space(text):
    assert b"\0" in fold(text)
    assert b" " not in fold(text)


@given(TEXTS)
def test_any_text_becomes_ascii_without_anything_unseen(text):
    look = fold(text)
    assert look.isascii()
    assert not set(look) & set(UNSEEN)


@given(TEXTS)
def test_folding_twice_is_folding_once(text):
    once = fold(text)
    assert fold(once.decode()) == once


@given(st.text(st.characters(codec="ascii", exclude_characters=UNSEEN.decode())))
def test_ascii_stays_as_it_is(text):
    assert fold(text) == text.encode()


@given(TEXTS, st.sampled_from(["", "\u200b", "\u0301", "\ufe0f"]))
def test_unseen_characters_in_between_change_nothing(text, unseen):
    assert fold(unseen.join(text)) == fold(text)
