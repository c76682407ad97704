"""Both sides get the same texts in turns; what one refuses counts for neither."""

import math

import numpy as np
import pytest
from compared import DIMENSIONS, ONE, OTHER, SECONDS, Models, corpus, vector

from embedsvc.errors import ConfigurationError
from embedsvc.operator.comparison import measuring
from embedsvc.operator.comparison.asking import HELLO
from embedsvc.operator.comparison.measuring import measure, work
from embedsvc.types import InputType


def unit(numbers):
    return np.array(numbers) / math.hypot(*numbers)


async def test_each_side_has_its_own_vectors_of_all_texts_in_their_order():
    texts = corpus(3, 80)
    measured = await measure(Models().ask, (ONE, OTHER), texts)
    assert measured.corpus is texts
    assert measured.refused == ()
    for side, model in zip(measured.sides, (ONE, OTHER), strict=True):
        assert (side.model, side.space.dimensions) == (model, DIMENSIONS[model])
        for found, wanted in ((side.space.queries, texts.queries), (side.space.documents, texts.documents)):
            expected = [unit(vector(model, text.text)) for text in wanted]
            np.testing.assert_allclose(found, expected, atol=1e-6)
        assert side.tokens == sum(len(text.text) for text in texts.documents)
        assert math.isclose(side.document_seconds, 3 * SECONDS[model])  # 80 are three requests
        assert side.query_seconds == [SECONDS[model]] * 3


async def test_sides_are_asked_in_turns_and_queries_one_by_one(monkeypatch):
    monkeypatch.setattr(measuring, "ALONE", 2)
    models = Models()
    await measure(models.ask, (ONE, OTHER), corpus(5, 40))
    names = [name for name, _, _ in models.asked]
    assert names == [ONE, OTHER] * (len(names) // 2)
    of_one = [(len(texts), kind) for name, texts, kind in models.asked if name == ONE]
    query, document = InputType.QUERY, InputType.DOCUMENT
    first, *rest = of_one
    assert first == (1, query)  # a greeting, which is not measured
    assert rest == [(1, query), (1, query), (3, query), (32, document), (8, document)]


async def test_only_queries_that_were_sent_alone_tell_times(monkeypatch):
    monkeypatch.setattr(measuring, "ALONE", 2)
    measured = await measure(Models(bad={ONE: {"query 1"}}).ask, (ONE, OTHER), corpus(6))
    one, other = measured.sides
    assert one.query_seconds == [SECONDS[ONE]]  # the other was refused, which is quick
    assert other.query_seconds == [SECONDS[OTHER]] * 2


async def test_progress_is_told_up_to_all_the_work():
    done = []
    texts = corpus(3, 50)
    await measure(Models().ask, (ONE, OTHER), texts, done.append)
    assert sum(done) == work(texts) == 106


async def test_what_one_side_refuses_is_left_out_on_both_and_told_once():
    texts = corpus(3, 30, {0: frozenset({0, 5}), 1: frozenset({2}), 2: frozenset({1})})
    bad = {"query 2", "document xx", "document x"}
    measured = await measure(Models(bad={ONE: {"document xx"}, OTHER: bad}).ask, (ONE, OTHER), texts)
    assert measured.refused == (
        f"texts.jsonl line 3: {OTHER}: is bad",
        f"texts.jsonl line 5: {OTHER}: is bad",
        f"texts.jsonl line 6: {ONE}: is bad",
    )
    kept = [text.text for text in measured.corpus.documents]
    assert (len(measured.corpus.queries), len(kept)) == (2, 28)
    assert "document xx" not in kept
    assert measured.corpus.relevant == {0: frozenset({0, 3})}  # places among those that are left
    for side in measured.sides:
        expected = [unit(vector(side.model, text)) for text in kept]
        np.testing.assert_allclose(side.space.documents, expected, atol=1e-6)


async def test_too_few_texts_that_are_left_are_told():
    bad = {ONE: {text.text for text in corpus().documents[:25]}}
    with pytest.raises(ConfigurationError, match="6 queries and 5 documents are too few"):
        await measure(Models(bad=bad).ask, (ONE, OTHER), corpus())


async def test_two_names_of_one_model_are_no_two_sides():
    with pytest.raises(ConfigurationError, match=f"both sides are {ONE}: name two models"):
        await measure(Models(answers={"alias": ONE}).ask, (ONE, "alias"), corpus())


async def test_a_side_that_refuses_to_say_hello_is_told():
    with pytest.raises(ConfigurationError, match=f"{OTHER}: is bad"):
        await measure(Models(bad={OTHER: {HELLO}}).ask, (ONE, OTHER), corpus())


async def test_a_side_that_another_model_answers_for_is_told():
    """Its vectors would be of another space: nothing of them could be compared."""
    models = Models(answers={"alias": OTHER})

    async def ask(name, texts, input_type):
        if input_type is InputType.DOCUMENT:
            models.answers["alias"] = ONE
        return await models.ask(name, texts, input_type)

    with pytest.raises(ConfigurationError, match=f"alias: {ONE} answered, where {OTHER} had before"):
        await measure(ask, (ONE, "alias"), corpus())
