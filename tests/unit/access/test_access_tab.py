"""access.tab: the batches of a stream are summed by model and outcome, and told at its end."""

import asyncio
from contextlib import closing, suppress

import numpy as np
import pytest

from embedsvc.access.tab import MOST, Tab
from embedsvc.errors import InternalError, OverloadedError, TokensLimitedError
from embedsvc.types import Embeddings


class Notes(list):
    """A ledger that keeps its rows where they can be seen."""

    add = list.append

    @property
    def sums(self):
        return {(row.model, row.outcome): (row.requests, row.inputs, row.tokens) for row in self}


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def tab(notes):
    return Tab(notes, "stream-1")


@pytest.fixture
async def opened(house, certificate):
    """The account that the stream was opened with."""
    return await house.account(certificate("search"), name="alice")


@pytest.fixture
def batch(tab, opened):
    """Answers one batch of two texts, or fails it."""

    async def run(model="model-a", error=None, tokens=(3, 5)):
        own = await opened.again()
        with tab.batch(own):
            own.allow(model, len(tokens))
            if error is not None:
                raise error
            own.note(Embeddings(model, np.zeros((len(tokens), 2), np.float32), tokens, [False] * len(tokens)))

    return run


async def test_nothing_is_told_before_the_end(tab, notes, batch):
    await batch()
    assert notes == []
    tab.close()
    assert notes.sums == {("model-a", "OK"): (1, 2, 8)}


async def test_batches_are_one_row_for_each_model_and_outcome(tab, notes, batch):
    with closing(tab):
        for model in ("model-a", "model-b", "model-a"):
            await batch(model)
        for error in (OverloadedError("full"), OverloadedError("full"), TokensLimitedError("over")):
            with suppress(type(error)):
                await batch("model-a", error)
    assert notes.sums == {
        ("model-a", "OK"): (2, 4, 16),
        ("model-b", "OK"): (1, 2, 8),
        ("model-a", "UNAVAILABLE"): (2, 4, 0),
        ("model-a", "RESOURCE_EXHAUSTED"): (1, 2, 0),
    }


async def test_a_row_says_whose_the_stream_is_and_how_long_all_its_batches_took(tab, notes, batch, opened):
    for _ in range(3):
        await batch()
    tab.close()
    (row,) = notes
    assert (row.request_id, row.rpc) == ("stream-1", "EmbedStream")
    assert (row.key, row.identity) == (opened.principal.key, "search")
    assert 0 < row.latency_ms < 5_000


async def test_a_long_stream_tells_of_every_thousand_batches(tab, notes, batch):
    for _ in range(2 * MOST + 1):
        await batch(tokens=(1,))
    assert [row.requests for row in notes] == [1000, 1000]
    tab.close()
    assert [row.requests for row in notes] == [1000, 1000, 1]
    assert sum(row.tokens for row in notes) == 2001


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (asyncio.CancelledError(), "CANCELLED"),
        (InternalError(), "INTERNAL"),
        (RuntimeError("of ours"), "INTERNAL"),
        (OverloadedError("full"), "UNAVAILABLE"),
    ],
)
async def test_a_batch_that_ends_badly_is_told_as_it_ended_and_its_error_goes_on(
    tab, notes, batch, error, outcome
):
    with pytest.raises(type(error)) as caught:
        await batch(error=error)
    assert caught.value is error
    tab.close()
    assert notes.sums == {("model-a", outcome): (1, 2, 0)}


async def test_a_batch_that_ends_well_while_another_error_is_handled_has_ended_well(tab, notes, batch):
    try:
        await batch("model-b", OverloadedError("full"))
    except OverloadedError:
        await batch("model-a")
    tab.close()
    assert notes.sums == {("model-b", "UNAVAILABLE"): (1, 2, 0), ("model-a", "OK"): (1, 2, 8)}


async def test_closing_twice_tells_once(tab, notes, batch):
    await batch()
    tab.close()
    tab.close()
    assert len(notes) == 1


async def test_a_stream_without_batches_has_no_row(tab, notes):
    tab.close()
    assert notes == []
