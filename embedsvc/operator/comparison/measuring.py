"""Two sides and what they made of the same texts: vectors, times, tokens."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from embedsvc.errors import ConfigurationError
from embedsvc.operator.client import batches
from embedsvc.operator.comparison.agreement import Space
from embedsvc.operator.comparison.asking import Ask, Asked, Part, ask_all, greet
from embedsvc.operator.comparison.corpus import Corpus, Text
from embedsvc.operator.comparison.similarity import scaled
from embedsvc.types import InputType, Vectors

ALONE = 200
"""Queries that are sent one a request, as users send them, to tell times; further ones go together."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side, measured.

    Attributes:
        model: Its model, by its own name.
        space: Its vectors, of the texts that neither side refused.
        tokens: Of all documents, as its model counts them.
        document_seconds: How long it took for them, one request after another.
        query_seconds: From sending to the answer, of single queries.
    """

    model: str
    space: Space
    tokens: int
    document_seconds: float
    query_seconds: Sequence[float]


@dataclass(frozen=True, slots=True)
class Measured:
    """Two sides, measured.

    Attributes:
        sides: The two.
        corpus: The texts that neither refused.
        refused: What was refused, and why, for people.
    """

    sides: tuple[Side, Side]
    corpus: Corpus
    refused: Sequence[str]


def work(corpus: Corpus) -> int:
    """How many texts two sides have to embed."""
    return 2 * (len(corpus.queries) + len(corpus.documents))


async def measure(
    ask: Ask, names: tuple[str, str], corpus: Corpus, advance: Callable[[int], object] = lambda _texts: None
) -> Measured:
    """Have two models embed a corpus.

    Args:
        ask: Has a model embed.
        names: What the two are asked for by.
        corpus: The texts.
        advance: Told how many more texts of `work` are done.

    Raises:
        ConfigurationError: One does not answer, both are the same, or too few texts are not refused.
    """
    one, other = [await greet(ask, name) for name in names]
    if one.model == other.model:
        raise ConfigurationError(f"both sides are {one.model}: name two models, by their own names")
    queries = [text.text for text in corpus.queries]
    singly = chain(([query] for query in queries[:ALONE]), batches(queries[ALONE:]))
    asked = await ask_all((one, other), singly, len(queries), InputType.QUERY, advance)
    together = batches(text.text for text in corpus.documents)
    found = await ask_all((one, other), together, len(corpus.documents), InputType.DOCUMENT, advance)
    return _measured((one, other), corpus, asked, found)


def _measured(
    sides: tuple[Asked, Asked], corpus: Corpus, asked: Sequence[Part], found: Sequence[Part]
) -> Measured:
    """Leave out what either side has refused, so that both have the same texts."""
    queries, documents = _taken(asked), _taken(found)
    one, other = (
        Side(
            side.model,
            Space(_rows(of_queries, queries), _rows(of_documents, documents)),
            of_documents.tokens,
            sum(of_documents.seconds),
            [took for at, took in enumerate(of_queries.seconds[:ALONE]) if at not in of_queries.refused],
        )
        for side, of_queries, of_documents in zip(sides, asked, found, strict=True)
    )
    refused = (*_told(sides, asked, corpus.queries), *_told(sides, found, corpus.documents))
    return Measured((one, other), corpus.kept(queries, documents), refused)


def _taken(parts: Sequence[Part]) -> Sequence[int]:
    """The texts, by index, that no side has refused."""
    refused = set().union(*(part.refused for part in parts))
    return [at for at in range(parts[0].count) if at not in refused]


def _rows(part: Part, rows: Sequence[int]) -> Vectors:
    """Some rows, of length 1; without a copy where they are all."""
    return scaled(part.vectors if len(rows) == part.count else part.vectors[np.array(rows, dtype=int)])


def _told(sides: Sequence[Asked], parts: Sequence[Part], texts: Sequence[Text]) -> Iterable[str]:
    """A line for each text that was refused, by one side or by both."""
    whys: dict[int, str] = {}
    for side, part in zip(sides, parts, strict=True):
        for at, why in part.refused.items():
            whys.setdefault(at, f"{side.model}: {why}")
    return (f"{texts[at].place}: {why}" for at, why in sorted(whys.items()))
