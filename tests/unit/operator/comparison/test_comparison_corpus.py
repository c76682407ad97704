"""The file that two models are compared by: what it may hold, and which line is wrong."""

import json

import pytest

from embedsvc.errors import ConfigurationError
from embedsvc.operator.comparison.corpus import read_lines, read_two

TEN = [{"document": f"text {number}", "id": f"d{number}"} for number in range(10)]


def written(tmp_path, *rows):
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def texts(found):
    return [text.text for text in found]


def test_queries_and_documents_are_read_in_their_order(tmp_path):
    corpus = read_lines(written(tmp_path, {"query": "b"}, *TEN, {"query": "a"}))
    assert texts(corpus.queries) == ["b", "a"]
    assert texts(corpus.documents) == [row["document"] for row in TEN]
    assert corpus.relevant == {}


def test_a_text_knows_its_line_and_empty_lines_count(tmp_path):
    corpus = read_lines(path := written(tmp_path, "", {"query": "a"}, "   ", *TEN))
    assert corpus.queries[0].place == f"{path} line 2"
    assert corpus.documents[0].place == f"{path} line 4"


def test_a_query_names_what_answers_it_before_or_after_it(tmp_path):
    first = {"query": "a", "relevant": ["d3", "d1"]}
    last = {"query": "c", "relevant": [7]}
    rows = [first, {"query": "b", "relevant": []}, *TEN, {"document": "seven", "id": 7}, last]
    corpus = read_lines(written(tmp_path, *rows))
    assert corpus.relevant == {0: frozenset({1, 3}), 2: frozenset({10})}


def test_other_alphabets_line_separators_and_marks_of_order_are_read(tmp_path):
    path = written(tmp_path, *TEN)
    line = '{"query": "Grüße \u2028 你好 \\u00e9"}\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + (line + path.read_text()).encode())
    assert texts(read_lines(path).queries) == ["Grüße \u2028 你好 é"]


BAD = {
    "no JSON": ("{", "must be {"),
    "no object": ("[]", 'must be {"query": TEXT} or {"document": TEXT}'),
    "neither": ({"text": "a"}, "must be {"),
    "both": ({"query": "a", "document": "b"}, "must be {"),
    "an unknown field": ({"query": "a", "answer": 1}, "a query has no 'answer'"),
    "an id of a query": ({"query": "a", "id": "1"}, "a query has no 'id'"),
    "an empty text": ({"query": " "}, "query must be a text that is not empty"),
    "a number for a text": ({"document": 1}, "document must be a text that is not empty"),
    "a fraction for an id": ({"document": "a", "id": 1.5}, "an id is a string or a whole number"),
    "truth for an id": ({"document": "a", "id": True}, "an id is a string or a whole number"),
    "an id that is there": ({"document": "a", "id": "d3"}, "another document has the id 'd3', too"),
    "one id for a list": ({"query": "a", "relevant": "d3"}, "relevant must be a list of ids"),
    "an id that nobody has": ({"query": "a", "relevant": ["d3", "x"]}, "no document has the id 'x'"),
}


@pytest.mark.parametrize(("row", "why"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named(tmp_path, row, why):
    path = written(tmp_path, *TEN, {"query": "a"}, row)
    with pytest.raises(ConfigurationError) as told:
        read_lines(path)
    assert str(told.value).startswith(f"{path} line 12: ")
    assert why in str(told.value)


def test_two_files_of_plain_lines_are_read(tmp_path):
    queries, documents = tmp_path / "queries.txt", tmp_path / "documents.txt"
    queries.write_text("one\n\n  two \n")
    documents.write_text("\n".join(f"document {number}" for number in range(10)))
    corpus = read_two(queries, documents)
    assert texts(corpus.queries) == ["one", "two"]
    assert [text.place for text in corpus.queries] == [f"{queries} line 1", f"{queries} line 3"]
    assert len(corpus.documents) == 10


@pytest.mark.parametrize(("rows", "counts"), [(TEN, "0 queries and 10"), (TEN[:9], "1 queries and 9")])
def test_too_few_texts_are_told(tmp_path, rows, counts):
    rows = rows if len(rows) == 10 else [{"query": "a"}, *rows]
    with pytest.raises(ConfigurationError, match=f"{counts} documents are too few: 1 and 10 are the least"):
        read_lines(written(tmp_path, *rows))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.jsonl: .*No such file"):
        read_lines(tmp_path / "nowhere.jsonl")
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"query": "é"}'.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"latin\.jsonl: .*utf-8"):
        read_lines(path)
