"""tokenizer: prompt, special tokens, length; and agreement with sentence-transformers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import MINILM
from tokenizers import AddedToken

from embedsvc.engine import fake
from embedsvc.engine.tokenizer import Asked, ModelTokenizer, Tokenized, load_tokenizer
from embedsvc.errors import ContextLengthExceededError, InvalidRequestError
from embedsvc.types import Truncation

CLS, SEP = 101, 102
TEXTS = [
    "Hello, world",
    "  leading and trailing\t spaces \n",
    "ÀÉÎ naïve Füße ﬁne",
    "東京タワー",
    "emoji 🦊👩‍👩‍👧",
    "[CLS] looks like [SEP] a special [MASK] token",
    "supercalifragilisticexpialidocious " * 3,
    "\u200b\ufeff\x01control",
    "...!?",
    " ",
    "x" * 500,
    "many words " * 400,
]


@pytest.fixture(scope="module")
def minilm():
    return ModelTokenizer(load_tokenizer(MINILM), "all-MiniLM-L6-v2", 256)


@pytest.fixture
def bytewise():
    """A token for each byte, its code and the specials; ten tokens at most."""
    return ModelTokenizer(fake.tokenizer(), "fake", 10)


def one(tokenizer, item, prompt="", truncation=Truncation.END):
    [[tokenized]] = tokenizer.encode([Asked([item], "inputs[{}]".format, prompt, truncation)])
    return tokenized


def ids_of(text):
    """The text's ids in the fake vocabulary, without specials."""
    return fake.tokenizer().encode(text, add_special_tokens=False).ids


def ready(ids):
    return [0, *ids, 1]


@pytest.mark.parametrize("text", TEXTS)
def test_minilm_s_ids_are_those_of_sentence_transformers(minilm, reference, text):
    theirs = reference.preprocess([text])["input_ids"][0].tolist()
    assert one(minilm, text).ids == theirs


def test_a_whole_batch_agrees_in_its_order(minilm, reference):
    features = reference.preprocess(TEXTS)
    rows = zip(features["input_ids"].tolist(), features["attention_mask"].sum(dim=1).tolist(), strict=True)
    [tokenized] = minilm.encode([Asked(TEXTS, str)])
    assert [item.ids for item in tokenized] == [row[:length] for row, length in rows]


def test_a_prompt_is_tokenized_as_part_of_the_text(minilm, reference):
    theirs = reference.preprocess(["query: Hello, world"])["input_ids"][0].tolist()
    assert one(minilm, "Hello, world", "query: ").ids == theirs


@pytest.mark.parametrize("prompt", ["", "q: "])
@pytest.mark.parametrize("truncation", Truncation)
def test_what_fits_is_whole_however_it_would_be_cut(bytewise, prompt, truncation):
    text = "12345678"[len(prompt) :]
    assert one(bytewise, text, prompt, truncation) == Tokenized(ready(ids_of(prompt + text)), truncated=False)


@pytest.mark.parametrize(
    ("prompt", "truncation", "kept"),
    [
        ("", Truncation.END, "12345678"),
        ("", Truncation.START, "3456789x"),
        ("q: ", Truncation.END, "q: 12345"),
        ("q: ", Truncation.START, "q: 6789x"),
    ],
)
@pytest.mark.parametrize("form", [str, ids_of], ids=["text", "ids"])
def test_what_is_too_long_is_cut_between_the_specials_and_keeps_the_prompt(
    bytewise, form, prompt, truncation, kept
):
    tokenized = one(bytewise, form("123456789x"), prompt, truncation)
    assert tokenized == Tokenized(ready(ids_of(kept)), truncated=True)


@pytest.mark.parametrize(("prompt", "tokens"), [("", 11), ("q: ", 14)])
@pytest.mark.parametrize("form", [str, ids_of], ids=["text", "ids"])
def test_what_is_too_long_is_an_error_where_truncation_is_off(bytewise, form, prompt, tokens):
    error = one(bytewise, form("123456789"), prompt, Truncation.NONE)
    assert isinstance(error, ContextLengthExceededError)
    assert error.param == "inputs[0]"
    assert f"inputs[0] has {tokens} tokens; fake reads 10 at most" in error.message


@pytest.mark.parametrize("truncation", [Truncation.END, Truncation.START])
@pytest.mark.parametrize("prompt", ["12345678", "a prompt longer than all"])
def test_never_more_tokens_than_the_model_reads_however_long_the_prompt(bytewise, prompt, truncation):
    tokenized = one(bytewise, "text", prompt, truncation)
    assert tokenized == Tokenized(ready(ids_of(prompt[:8])), truncated=True)


WORD = st.one_of(
    st.sampled_from(
        ["a", "many", "words", "unbelievably", "ﬁne", "東京タワー", "e\u0301", "[SEP]", "##ing", "x" * 120]
    ),
    st.sampled_from(["", " ", "...", "\n", "\t", "\u00a0", "\u200b", "\u0301", "\x01", "!?"]),
    st.text(max_size=8),
)
SIX = 6


@pytest.fixture(scope="module")
def vocabulary():
    """MiniLM's, which nothing of ours has touched."""
    tokenizer = load_tokenizer(MINILM)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@pytest.fixture(scope="module")
def scant():
    """Reads so little that most texts are long."""
    return ModelTokenizer(load_tokenizer(MINILM), "scant", SIX + 2)


@given(words=st.lists(WORD, max_size=60), gap=st.sampled_from([" ", "  ", "", "\n"]))
def test_a_long_text_s_ids_are_those_of_all_of_it_however_little_was_read(scant, vocabulary, words, gap):
    text = gap.join(words)
    whole = vocabulary.encode(text, add_special_tokens=False).ids
    cut = len(whole) > SIX
    assert one(scant, text) == Tokenized([CLS, *whole[:SIX], SEP], cut)
    assert one(scant, text, truncation=Truncation.START) == Tokenized([CLS, *whole[-SIX:], SEP], cut)
    prompted = vocabulary.encode("query: " + text, add_special_tokens=False).ids
    kept = prompted[:2] + prompted[2:][-SIX + 2 :]
    assert one(scant, text, "query: ").ids == [CLS, *prompted[:SIX], SEP]
    assert one(scant, text, "query: ", Truncation.START).ids == [CLS, *kept, SEP]


def asked(tokenizer, monkeypatch):
    """The texts that its vocabulary is asked for from now on."""
    seen, ask = [], tokenizer._plain_ids
    monkeypatch.setattr(tokenizer, "_plain_ids", lambda texts: [seen.extend(texts), ask(texts)][1])
    return seen


@pytest.mark.parametrize(("truncation", "kept"), [(Truncation.END, "first"), (Truncation.START, "last")])
def test_of_a_long_text_no_more_is_read_than_is_kept(scant, monkeypatch, truncation, kept):
    seen = asked(scant, monkeypatch)
    one(scant, "first " + "and many more words " * 400 + "last", truncation=truncation)
    assert len(seen) == 1
    assert kept in seen[0]
    assert len(seen[0]) < 80


def test_a_long_text_of_few_tokens_is_read_whole(scant, monkeypatch):
    seen = asked(scant, monkeypatch)
    assert one(scant, "x" * 500 + " a b") == Tokenized([CLS, 100, 1037, 1038, SEP])
    assert [len(text) for text in seen] == [500, 504]


def test_a_vocabulary_with_a_space_in_a_token_reads_all(monkeypatch):
    vocabulary = load_tokenizer(MINILM)
    vocabulary.add_tokens([AddedToken("New York", normalized=False)])
    tokenizer = ModelTokenizer(vocabulary, "spaced", SIX + 2)
    seen = asked(tokenizer, monkeypatch)
    one(tokenizer, "many words " * 400)
    assert [len(text) for text in seen] == [4400]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([5, 6], [0, 5, 6, 1]),
        ([0, 5, 6, 1], [0, 5, 6, 1]),
        ([0, 5, 6], [0, 0, 5, 6, 1]),
        ([5, 6, 1], [0, 5, 6, 1, 1]),
        ([0, 1], [0, 1]),
        ([0], [0, 0, 1]),
        ([1], [0, 1, 1]),
        ((257,), [0, 257, 1]),
    ],
)
def test_special_tokens_are_added_unless_both_are_there(bytewise, ids, expected):
    assert one(bytewise, ids).ids == expected


def test_a_prompt_goes_inside_the_special_tokens_of_ids(bytewise):
    assert one(bytewise, [0, 5, 1], "q").ids == [0, *ids_of("q"), 5, 1]


def test_ids_of_a_text_give_what_the_text_gives(minilm):
    tokenized = one(minilm, TEXTS[0])
    assert one(minilm, tokenized.ids) == tokenized
    assert one(minilm, tokenized.ids[1:-1]) == tokenized


@pytest.mark.parametrize("bad", [258, 2**32 - 1, -1])
def test_an_id_outside_the_vocabulary_is_named(bytewise, bad):
    error = one(bytewise, [5, bad, 7])
    assert isinstance(error, InvalidRequestError)
    assert not isinstance(error, ContextLengthExceededError)
    assert error.param == "inputs[0]"
    assert f"inputs[0] has the token id {bad}" in error.message
    assert "ends at 257" in error.message


def test_good_and_bad_inputs_keep_their_places(bytewise):
    refused = InvalidRequestError("not even looked at")
    inputs = ["x", [999], [5], refused, "far too long", "y"]
    [[first, outside, ids, known, long, last]] = bytewise.encode([Asked(inputs, str, "", Truncation.NONE)])
    assert first.ids == ready(ids_of("x"))
    assert (outside.param, long.param) == ("1", "4")
    assert known is refused
    assert ids.ids == [0, 5, 1]
    assert last.ids == ready(ids_of("y"))


def test_requests_that_are_tokenized_together_are_what_they_are_alone(bytewise):
    asked = [
        Asked(["x", "far too long"], str, "q", Truncation.START),
        Asked([], str),
        Asked(["far too long", [5]], str, "", Truncation.NONE),
        Asked(["far too long"], str),
    ]
    together = bytewise.encode(asked)
    for found, [alone] in zip(together, (bytewise.encode([one]) for one in asked), strict=True):
        assert list(map(repr, found)) == list(map(repr, alone))
    assert together[0][0].ids == ready(ids_of("qx"))


def test_nothing_to_tokenize_is_nothing(bytewise):
    assert bytewise.encode([Asked([], str, "q: ")]) == [[]]
    assert bytewise.encode([]) == []


def test_padding_and_truncation_in_the_model_s_files_are_not_ours(minilm):
    assert load_tokenizer(MINILM).padding
    assert one(minilm, "a").ids == [CLS, 1037, SEP]
    assert len(one(minilm, "many words " * 100).ids) == 202
