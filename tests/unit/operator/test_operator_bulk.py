"""operator.bulk: every text is sent until it is answered, no sooner than is asked for, and not for ever."""

import asyncio
import time

import pytest

from embedsvc.operator import bulk as module
from embedsvc.operator.bulk import Bulk


@pytest.fixture
def bulk():
    return Bulk([["a", "b"], ["c"]])


async def test_requests_are_sent_under_names_of_their_own_and_end_when_all_are_answered(bulk):
    sent = []
    async for name, texts in bulk.requests():
        sent.append((name, texts))
        assert bulk.answered(name) == texts
    assert sent == [("1", ["a", "b"]), ("2", ["c"])]


async def test_nothing_is_taken_before_there_is_room_for_it():
    taken = []

    def batches():
        for number in range(3):
            taken.append(number)
            yield [str(number)]

    sending = Bulk(batches()).requests()
    assert taken == []
    await anext(sending)
    assert taken == [0]


async def test_it_waits_for_answers_before_it_ends(bulk):
    names = []

    async def send():
        async for name, _ in bulk.requests():
            names.append(name)

    sending = asyncio.create_task(send())
    await asyncio.sleep(0.01)
    assert names == ["1", "2"]
    bulk.answered("2")
    await asyncio.sleep(0.01)
    assert not sending.done()
    bulk.answered("1")
    await asyncio.wait_for(sending, 5)


async def test_what_is_to_be_sent_again_is_sent_first_and_not_too_soon(bulk):
    sending = bulk.requests()
    name, texts = await anext(sending)
    began = time.monotonic()
    assert bulk.again(name, 0.1)
    name, again = await anext(sending)
    assert time.monotonic() - began >= 0.1
    assert again == texts
    bulk.answered(name)
    assert (await anext(sending))[1] == ["c"]


async def test_what_is_never_let_in_is_given_up(bulk, monkeypatch):
    monkeypatch.setattr(module, "MOST_TRIES", 3)
    sending = bulk.requests()
    for _ in range(2):
        name, _ = await anext(sending)
        assert bulk.again(name, 0)
    name, _ = await anext(sending)
    assert not bulk.again(name, 0)
    assert bulk.answered(name) == ["a", "b"]


async def test_without_texts_nothing_is_sent():
    assert [name async for name, _ in Bulk([]).requests()] == []
