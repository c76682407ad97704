"""Passages of a novel, each of an exact number of tokens, none twice: no cache can answer for a model."""

import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path

from lengths import endless
from tokenizers import Tokenizer

NOVEL = Path(__file__).parent / "data" / "emma.txt"
SPECIALS = 2
"""Tokens that BERT's tokenizer puts around a text: [CLS] and [SEP]."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and its length in tokens, special tokens counted."""

    text: str
    tokens: int


class Passages:
    """Cuts passages out of words.

    A passage begins at any word, in a random order; when every word had its turn, the passages go on with
    one word left out after their first, then with two, and so on.

    Args:
        words: The words of a long text.
        tokens: How many tokens each word is.
        seed: Of the order.
    """

    def __init__(self, words: Sequence[str], tokens: Sequence[int], seed: int = 0) -> None:
        self._words = words
        self._before = [0, *accumulate(tokens)]
        self._places = _places(len(words), seed)
        self._seen: set[str] = set()

    def cut(self, tokens: int) -> Text:
        """Return a passage of so many tokens that was not returned before."""
        for start, left_out in self._places:
            text = self._cut_at(start, start + 1 + left_out, tokens - SPECIALS)
            if text is not None and text not in self._seen:
                self._seen.add(text)
                return Text(text, tokens)
        raise AssertionError("places never end")

    def _cut_at(self, first: int, second: int, tokens: int) -> str | None:
        """The word at one place and the words from another one on; None where no word ends at the length."""
        if second >= len(self._words):
            return None
        left = tokens - (self._before[first + 1] - self._before[first])
        wanted = self._before[second] + left
        end = bisect_left(self._before, wanted)
        if end < second or end == len(self._before) or self._before[end] != wanted:
            return None
        return " ".join([self._words[first], *self._words[second:end]])


@dataclass(frozen=True, slots=True)
class Supply:
    """Texts for a whole run, none of them twice.

    Attributes:
        passages: Where those of a length come from.
        numbers: Numbers in digits: texts that cost as little as a text can.
    """

    passages: Passages
    numbers: Iterator[Text]

    def texts(self, lengths: Sequence[int], seed: int) -> Iterator[Text]:
        """Endless texts of such lengths, in the same order for the same seed; without lengths, numbers."""
        return (self.passages.cut(length) for length in endless(lengths, seed)) if lengths else self.numbers


def open_supply(tokenizer_file: Path) -> Supply:
    """Read the novel in this folder, in tokens of a tokenizer.json of BERT's.

    Those tokens never reach over white space, so a passage has as many as its words have.
    """
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    words = NOVEL.read_text().split()
    encodings = tokenizer.encode_batch_fast(words, add_special_tokens=False)
    passages = Passages(words, [len(encoding.ids) for encoding in encodings])
    return Supply(passages, (Text(str(number), 0) for number in count(10**9)))


def _places(words: int, seed: int) -> Iterator[tuple[int, int]]:
    """Where passages start, and how many words they leave out after the first."""
    order = random.Random(seed).sample(range(words), words)
    return ((start, left_out) for left_out in count() for start in order)
