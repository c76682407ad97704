"""What is computed: texts of given lengths as random token ids, and how they are cut into batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

SHORTEST, LONGEST = 5, 512
MEDIAN, SIGMA = 48, 1.0
"""Of mixed lengths, log-normal: sentences and paragraphs, and some pages among them."""

FIRST_WORD = 5
"""Ids below are special."""

Batch = list[list[int]]


@dataclass(frozen=True, slots=True)
class Work:
    """Texts, in the order in which they arrive.

    Attributes:
        name: What their lengths are called.
        texts: Their token ids.
    """

    name: str
    texts: Batch

    @property
    def tokens(self) -> int:
        """Of all texts."""
        return sum(map(len, self.texts))

    def first(self, tokens: int) -> "Work":
        """The first texts, about so many tokens in all."""
        enough = sum(before < tokens for before in accumulate(map(len, self.texts), initial=0))
        return Work(self.name, self.texts[:enough])


def mixed(tokens: int, words: int) -> Work:
    """Texts of log-normal lengths, about so many tokens in all."""
    random = np.random.default_rng(0)
    drawn = random.lognormal(np.log(MEDIAN), SIGMA, tokens // SHORTEST).clip(SHORTEST, LONGEST).astype(int)
    enough = int(np.searchsorted(drawn.cumsum(), tokens)) + 1
    return Work(f"mixed {SHORTEST}-{LONGEST}", _texts(drawn[:enough].tolist(), words))


def equal(length: int, tokens: int, words: int) -> Work:
    """Texts of one length, about so many tokens in all."""
    return Work(f"{length} tokens", _texts([length] * max(1, tokens // length), words))


def cut(texts: Batch, most_tokens: int, most_texts: int) -> Iterator[Batch]:
    """Cut texts into batches in their order, each as large as it may be."""
    batch: Batch = []
    total = 0
    for text in texts:
        if batch and (total + len(text) > most_tokens or len(batch) == most_texts):
            yield batch
            batch, total = [], 0
        batch.append(text)
        total += len(text)
    yield batch


def _texts(lengths: Sequence[int], words: int) -> Batch:
    random = np.random.default_rng(1)
    return [random.integers(FIRST_WORD, words, length).tolist() for length in lengths]
