"""flights: what several requests ask for at the same time is computed once, and nobody pays for another."""

import asyncio
import random
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsvc.cache.row import Key, Row
from embedsvc.errors import DeadlineExceededError, InternalError, OverloadedError, ProviderDownError
from embedsvc.flights import Flights, Landed


def key(text):
    return Key(sha256(text.encode()).digest())


def keys(text):
    return [key(each) for each in text]


class Engine:
    """Computes when it is told to."""

    def __init__(self):
        self.asked = []
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def compute(self, wanted):
        self.asked.append(list(wanted))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return landed(wanted)


def landed(wanted):
    rows = {each: Row(np.frombuffer(each, "<f4"), 1, truncated=False, expires_at=0.0) for each in wanted}
    return Landed(rows, 1.0, 2.0)


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def flights():
    return Flights()


def begin(flights, text, compute, *, bulk=False):
    return asyncio.create_task(flights.land(keys(text), compute, bulk=bulk))


async def test_a_hundred_requests_for_the_same_text_are_computed_once(flights, engine):
    requests = [begin(flights, "a", engine.compute) for _ in range(100)]
    await turns()
    engine.gate.set()
    answers = await asyncio.gather(*requests)
    assert engine.asked == [[key("a")]]
    assert [set(answer.rows) for answer in answers] == [{key("a")}] * 100
    assert sum(not answer.joined for answer in answers) == 1


async def test_a_request_computes_only_what_nobody_computes_yet(flights, engine):
    first = begin(flights, "ab", engine.compute)
    await turns()
    second = begin(flights, "bc", engine.compute)
    await turns()
    assert engine.asked == [keys("ab"), keys("c")]
    engine.gate.set()
    answer = await second
    assert set(answer.rows) == set(keys("bc"))
    assert answer.joined == {key("b")}
    assert (answer.queued, answer.inferred) == (1.0, 2.0)
    await first


async def test_what_has_landed_is_forgotten(flights, engine):
    engine.gate.set()
    for _ in range(2):
        await flights.land(keys("a"), engine.compute, bulk=False)
    assert len(engine.asked) == 2
    assert not flights._interactive


async def test_a_caller_that_leaves_takes_nothing_from_those_who_wait_for_its_texts(flights, engine):
    first, second = begin(flights, "ab", engine.compute), None
    await turns()
    second = begin(flights, "b", engine.compute)
    await turns()
    first.cancel()
    await turns()
    engine.gate.set()
    assert set((await second).rows) == {key("b")}
    assert (len(engine.asked), engine.cancelled) == (1, 0)


async def test_what_nobody_waits_for_any_more_ends_and_is_not_joined(flights, engine):
    first = begin(flights, "a", engine.compute)
    await turns()
    first.cancel()
    second = begin(flights, "a", engine.compute)
    await turns(6)
    assert engine.cancelled == 1
    engine.gate.set()
    assert set((await second).rows) == {key("a")}
    assert len(engine.asked) == 2


@pytest.mark.parametrize("error", [DeadlineExceededError("late"), InternalError(), OverloadedError("full")])
async def test_who_only_waited_begins_anew_when_another_s_fails(flights, engine, error):
    gate = asyncio.Event()

    async def fail(_wanted):
        await gate.wait()
        raise error

    first = begin(flights, "ab", fail)
    await turns()
    others = [begin(flights, "b", engine.compute) for _ in range(3)]
    await turns()
    engine.gate.set()
    gate.set()
    with pytest.raises(type(error)):
        await first
    for other in others:
        assert set((await other).rows) == {key("b")}
    assert engine.asked == [keys("b")]


async def test_where_nothing_computes_all_are_told_at_once(flights, engine):
    gate = asyncio.Event()

    async def fail(_wanted):
        await gate.wait()
        raise ProviderDownError("down")

    requests = [begin(flights, "a", fail if at == 0 else engine.compute) for at in range(3)]
    await turns()
    gate.set()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ProviderDownError] * 3
    assert engine.asked == []


async def test_what_has_just_failed_is_not_joined(flights, engine):
    arrived = asyncio.Event()

    def arrive():
        request = flights.land(keys("a"), engine.compute, bulk=False)
        request.send(None)  # at once, before anybody is told of the failure
        assert not flights._interactive[key("a")].task.done()
        request.close()
        arrived.set()

    async def fail(_wanted):
        asyncio.get_running_loop().call_soon(arrive)
        raise InternalError

    with pytest.raises(InternalError):
        await flights.land(keys("a"), fail, bulk=False)
    await arrived.wait()


async def test_nobody_interactive_waits_for_bulk_work(flights, engine):
    bulk = begin(flights, "a", engine.compute, bulk=True)
    await turns()
    interactive = begin(flights, "a", engine.compute)
    await turns()
    more = begin(flights, "a", engine.compute, bulk=True)
    await turns()
    assert engine.asked == [keys("a"), keys("a")]
    engine.gate.set()
    await asyncio.gather(bulk, interactive, more)


REQUESTS = st.lists(st.tuples(st.text("abcdef", min_size=1, max_size=6), st.booleans()), max_size=12)


@given(REQUESTS, st.lists(st.booleans(), max_size=20), st.randoms())
async def test_whoever_stays_gets_its_texts_whatever_others_do(requests, failures, chance: random.Random):
    flights, engine, failures = Flights(), Engine(), iter(failures)

    async def compute(wanted):
        answer = await engine.compute(wanted)
        if next(failures, False):
            raise InternalError
        return answer

    async def ask(text):
        while True:
            try:
                return await flights.land(keys(sorted(set(text))), compute, bulk=False)
            except InternalError:
                continue

    tasks = []
    for text, _ in requests:
        tasks.append(asyncio.create_task(ask(text)))
        await turns(chance.randrange(3))
    for task, (_, leaves) in zip(tasks, requests, strict=True):
        if leaves:
            task.cancel()
            await turns(chance.randrange(3))
    engine.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for answer, (text, leaves) in zip(answers, requests, strict=True):
        left = leaves and isinstance(answer, asyncio.CancelledError)
        assert left or {row.vector.tobytes() for row in answer.rows.values()} == set(keys(text))
    await turns()
    assert not flights._interactive
