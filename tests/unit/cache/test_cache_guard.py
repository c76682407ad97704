"""cache.guard: what fails is counted, told of once, and left alone; a caller that leaves changes nothing."""

import asyncio

import pytest
from structlog.testing import capture_logs

from embedsvc.cache.guard import Guard
from embedsvc.store.presence import Presence
from embedsvc.store.protocols import StoreAwayError, StoreError, StoreRefusedError


@pytest.fixture
def guard(metrics):
    return Guard("set", metrics, Presence("away", "back"))


@pytest.fixture
def logs():
    with capture_logs() as lines:
        yield lines


async def answer():
    return "answer"


async def away():
    raise StoreAwayError("it is not there")


async def refuse():
    raise StoreRefusedError("it is full")


async def stumble():
    raise ZeroDivisionError


async def hang():
    await asyncio.Event().wait()


async def fail(guard, how, times=3, seconds=5.0):
    for _ in range(times):
        with pytest.raises(StoreError) as told:
            await guard.run(how, seconds)
    return told.value


async def test_what_is_answered_is_passed_on(guard, logs):
    assert await guard.run(answer, 5) == "answer"
    assert not guard.is_open
    assert logs == []


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (away, "it is not there"),
        (refuse, "it is full"),
        (stumble, "ZeroDivisionError()"),
        (hang, "no answer within 0.01 seconds"),
    ],
)
async def test_three_failures_in_a_row_are_counted_told_of_once_and_then_it_is_left_alone(
    guard, counts, logs, how, says
):
    error = await fail(guard, how, seconds=0.01 if how is hang else 5)
    assert counts("failures_total", operation="set") == 3
    assert guard.is_open
    assert guard.pause_left > 0
    (line,) = logs
    assert line["event"] == "away"
    assert says in str(error)
    assert says in line["error"]

    called = []
    await fail(guard, lambda: called.append(1), times=20)
    assert called == []
    assert counts("failures_total", operation="set") == 3
    assert len(logs) == 1


async def test_one_failure_among_many_answers_says_nothing(guard, logs):
    for _ in range(10):
        await fail(guard, away, times=2)
        await guard.run(answer, 5)
    assert not guard.is_open
    assert logs == []


async def test_after_a_pause_one_may_try_and_when_it_answers_all_may(guard, logs):
    await fail(guard, refuse)
    await asyncio.sleep(guard.pause_left)
    trying = asyncio.create_task(guard.run(lambda: asyncio.sleep(0.05, "late"), 5))
    await asyncio.sleep(0)
    assert "left alone" in str(await fail(guard, answer, times=5))
    assert await trying == "late"
    assert await guard.run(answer, 5) == "answer"
    assert [line["event"] for line in logs] == ["away", "back"]


async def test_a_caller_that_leaves_is_no_failure(guard, counts, logs):
    for _ in range(10):
        asking = asyncio.create_task(guard.run(hang, 5))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert not guard.is_open
    assert counts("failures_total", operation="set") == 0
    assert logs == []


async def test_a_caller_that_leaves_while_it_tries_lets_another_try(guard):
    await fail(guard, away)
    await asyncio.sleep(guard.pause_left)
    trying = asyncio.create_task(guard.run(hang, 5))
    await asyncio.sleep(0)
    trying.cancel()
    await asyncio.wait([trying])
    assert await guard.run(answer, 5) == "answer"
    assert not guard.is_open


async def test_a_caller_from_before_that_leaves_does_not_let_another_try_beside_the_first(guard):
    early = asyncio.create_task(guard.run(hang, 5))
    await asyncio.sleep(0)
    await fail(guard, away)
    await asyncio.sleep(guard.pause_left)
    trying = asyncio.create_task(guard.run(hang, 5))
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.wait([early])
    assert "left alone" in str(await fail(guard, answer, times=5))
    trying.cancel()
    await asyncio.wait([trying])


async def test_what_goes_without_saying_is_told_when_it_does_so_no_more(metrics, logs):
    known = [True]
    guard = Guard("set", metrics, Presence("away", "back"), lambda: known[-1])
    await fail(guard, away)
    assert logs == []
    known.append(False)
    await asyncio.sleep(guard.pause_left)
    await fail(guard, away, times=1)
    assert [line["event"] for line in logs] == ["away"]
