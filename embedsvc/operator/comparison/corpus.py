"""Reads what two models are compared by: queries, documents, and which of these answer which of those."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embedsvc.errors import ConfigurationError
from embedsvc.operator.comparison.lines import Document, Query, read_line

LEAST_DOCUMENTS = 10
"""With fewer, the ten nearest documents would be all of them, whatever a model says."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and where it is written.

    Attributes:
        text: The text.
        place: Its file and line, for messages.
    """

    text: str
    place: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """What two models are compared by.

    Attributes:
        queries: What is searched for.
        documents: What is searched.
        relevant: For queries, by index, of which it is known: the documents, by index, that answer them.
    """

    queries: Sequence[Text]
    documents: Sequence[Text]
    relevant: Mapping[int, frozenset[int]] = field(default_factory=dict)

    def kept(self, queries: Sequence[int], documents: Sequence[int]) -> "Corpus":
        """Those texts alone that are named by index, each in ascending order.

        Raises:
            ConfigurationError: They are too few.
        """
        if (len(queries), len(documents)) == (len(self.queries), len(self.documents)):
            return self
        places = {document: place for place, document in enumerate(documents)}
        relevant = {
            at: frozenset(places[document] for document in self.relevant[query] if document in places)
            for at, query in enumerate(queries)
            if query in self.relevant
        }
        return _checked(
            Corpus(
                [self.queries[at] for at in queries],
                [self.documents[at] for at in documents],
                {at: found for at, found in relevant.items() if found},
            ),
            "what was not refused",
        )


def read_lines(path: Path) -> Corpus:
    """Read a file of JSON objects, one a line: `{"query": …}` and `{"document": …}`.

    A document may have an `id`, and a query a list `relevant` of ids. Empty lines are passed over.

    Raises:
        ConfigurationError: The file cannot be read, a line is something else, or there are too few texts.
    """
    queries: list[tuple[Text, Query]] = []
    documents: list[Text] = []
    ids: dict[str, int] = {}
    for place, line in _lines(path):
        found = read_line(line, place)
        if isinstance(found, Query):
            queries.append((Text(found.text, place), found))
            continue
        _note(ids, found, len(documents), place)
        documents.append(Text(found.text, place))
    relevant = {at: _known(query, ids, text.place) for at, (text, query) in enumerate(queries)}
    judged = {at: known for at, known in relevant.items() if known}
    return _checked(Corpus([text for text, _ in queries], documents, judged), str(path))


def read_two(queries: Path, documents: Path) -> Corpus:
    """Read a file of queries and one of documents, a text a line; empty lines are passed over.

    Raises:
        ConfigurationError: One cannot be read, or has too few texts.
    """
    asked, found = ([Text(line, place) for place, line in _lines(path)] for path in (queries, documents))
    return _checked(Corpus(asked, found), f"{queries} and {documents}")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines that are not empty, each with its place."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if stripped := line.strip():
            yield f"{path} line {number}", stripped


def _note(ids: dict[str, int], document: Document, index: int, place: str) -> None:
    if document.id is None:
        return
    if document.id in ids:
        raise ConfigurationError(f"{place}: another document has the id {document.id!r}, too")
    ids[document.id] = index


def _known(query: Query, ids: Mapping[str, int], place: str) -> frozenset[int]:
    for name in query.relevant:
        if name not in ids:
            raise ConfigurationError(f"{place}: relevant: no document has the id {name!r}")
    return frozenset(ids[name] for name in query.relevant)


def _checked(corpus: Corpus, where: str) -> Corpus:
    if not corpus.queries or len(corpus.documents) < LEAST_DOCUMENTS:
        raise ConfigurationError(
            f"{where}: {len(corpus.queries)} queries and {len(corpus.documents)} documents are too few: "
            f"1 and {LEAST_DOCUMENTS} are the least, some hundred and some thousand say something"
        )
    return corpus
