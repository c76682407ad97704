"""providers.answers: what is believed of an answer, and what is not."""

import base64
import json

import numpy as np
import pytest

from embedsvc.providers.answers import read_vectors
from embedsvc.providers.outcome import CallError

WELL = [[1.0, 0.5, -2.0], [0.25, 0.0, 3.0]]


def packed(vector, kind="<f4"):
    return base64.b64encode(np.array(vector, kind).tobytes()).decode()


def answer(*rows, **values):
    """An answer with (index, embedding) rows."""
    data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in rows]
    return json.dumps({"object": "list", "data": data, **values}).encode()


def why(content, texts=2, dimensions=3):
    with pytest.raises(CallError) as caught:
        read_vectors(content, texts, dimensions)
    assert caught.value.outcome == "malformed"
    return caught.value.detail


@pytest.mark.parametrize("form", [packed, list], ids=["base64", "numbers"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in order", "in another order"])
def test_vectors_are_read_in_the_order_of_the_texts(form, order):
    vectors = read_vectors(answer(*((at, form(WELL[at])) for at in order)), 2, 3)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == WELL


def test_whole_numbers_are_numbers():
    assert read_vectors(answer((0, [1, 0, -2])), 1, 3).tolist() == [[1.0, 0.0, -2.0]]


@pytest.mark.parametrize("rows", [[], [(0, packed(WELL[0]))], [(at, packed(WELL[0])) for at in range(3)]])
def test_there_must_be_as_many_as_texts(rows):
    assert why(answer(*rows)) == f"the answer has {len(rows)} vectors for 2 texts"


@pytest.mark.parametrize("places", [(0, 0), (1, 1), (1, 2), (-1, 0), (0, 2**40)])
def test_each_must_be_of_a_text_of_its_own(places):
    assert "two vectors for one text" in why(answer(*((at, packed(WELL[0])) for at in places)))


@pytest.mark.parametrize("vector", [[], WELL[0][:2], [*WELL[0], 1.0]])
@pytest.mark.parametrize("form", [packed, list], ids=["base64", "numbers"])
def test_each_must_have_the_dimensions_of_the_model(form, vector):
    assert f"a vector of {len(vector)} numbers instead of 3" in why(
        answer((0, form(WELL[0])), (1, form(vector)))
    )


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_each_number_must_be_finite(number):
    assert "not finite" in why(answer((0, packed(WELL[0])), (1, packed([0.0, number, 0.0]))))


@pytest.mark.parametrize("number", ["1e39", "-1e300", "1" * 60])
def test_a_number_that_is_too_large_to_be_one_of_a_vector_is_none(number):
    content = answer((0, [0.0, 7.0, 0.0])).replace(b"7.0", number.encode())
    assert "not finite" in why(content, texts=1)


@pytest.mark.parametrize(
    "vector",
    [
        "***",
        packed(WELL[0])[:-1],
        packed(WELL[0]) + "\n",
        base64.b64encode(b"12345").decode(),
        None,
        7,
        {"0": 1.0},
        [1.0, None, 2.0],
        [1.0, "2.0", 3.0],
        [True, 1.0, 2.0],
        [[1.0], 2.0, 3.0],
    ],
)
def test_a_vector_must_be_one(vector):
    why(answer((0, packed(WELL[0])), (1, vector)))


@pytest.mark.parametrize("place", [None, "0", 0.0, True, [0]])
def test_an_index_must_be_one(place):
    assert "something else" in why(answer((place, packed(WELL[0]))), texts=1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"7",
        b'{"data": null}',
        b'{"data": {"0": 1}}',
        b'{"data": [NaN]}',
        b"\xff\xfe",
        b'{"data": [1, 2]}',
        b'{"error": {"message": "sk-key was wrong"}}',
    ],
)
def test_what_is_no_answer_is_refused_and_none_of_it_is_told(content):
    said = why(content)
    assert not any(word in said for word in ("html", "sk-key", "NaN"))
