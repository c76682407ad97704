"""admission: bounds on what waits, and room for everybody however much one caller sends."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from embedsvc.engine.admission import Admission, Door
from embedsvc.errors import OverloadedError
from embedsvc.types import Caller


async def settle():
    """Let every task that can run, run."""
    for _ in range(3):
        await asyncio.sleep(0)


async def waiting(door, *sizes):
    """Tasks that wait for room, in this order."""
    tasks = []
    for size in sizes:
        tasks.append(asyncio.create_task(door.acquire(size)))
        await settle()
    return tasks


CALLS = 90
"""What calls may hold of a capacity of 120; streams may hold 30."""

ONE, OTHER = Caller("one"), Caller("other")
STREAM = Caller("one", patient=True)


@pytest.fixture
async def enter():
    """Take room, and keep it until the test ends or the returned stack is closed."""
    async with AsyncExitStack() as kept:

        async def take(admission, tokens, caller=ONE):
            stack = await kept.enter_async_context(AsyncExitStack())
            await stack.enter_async_context(admission.admit(tokens, caller))
            return stack

        yield take


async def test_what_fits_is_let_in_and_counted_until_it_leaves():
    admission = Admission(120)
    async with admission.admit(20, ONE), admission.admit(10, OTHER), admission.admit(5, STREAM):
        assert admission.held == 35
    assert admission.held == 0


async def test_what_does_not_fit_is_refused_at_once_and_worth_another_try(enter):
    admission = Admission(120)
    for caller in (ONE, ONE, OTHER):
        await enter(admission, CALLS // 3, caller)
    with pytest.raises(OverloadedError, match="the queue is full") as caught:
        await enter(admission, 1, Caller("third"))
    assert caught.value.retry_after
    assert admission.held == CALLS


async def test_one_caller_leaves_room_for_the_others(enter):
    admission = Admission(120)
    leaving = await enter(admission, CALLS // 3)
    await enter(admission, CALLS // 3)
    with pytest.raises(OverloadedError, match="one key"):
        await enter(admission, 1)
    await enter(admission, CALLS // 3, OTHER)
    await leaving.aclose()
    await enter(admission, CALLS // 3)


async def test_a_huge_request_counts_for_a_third_so_that_others_are_still_let_in(enter):
    admission = Admission(120)
    await enter(admission, 1_000_000)
    assert admission.held == CALLS // 3
    await enter(admission, CALLS // 3)
    await enter(admission, CALLS // 3, OTHER)


async def test_streams_and_calls_do_not_shut_each_other_out(enter):
    admission = Admission(120)
    await enter(admission, 30, STREAM)
    waiting_stream = asyncio.create_task(enter(admission, 1, STREAM))
    await settle()
    assert not waiting_stream.done()
    for caller in (ONE, ONE, OTHER):
        await enter(admission, CALLS // 3, caller)
    assert admission.held == 120
    waiting_stream.cancel()


async def test_room_is_given_back_when_the_work_fails():
    admission = Admission(120)
    for caller in (ONE, STREAM):
        with pytest.raises(ZeroDivisionError):
            async with admission.admit(10, caller):
                raise ZeroDivisionError
    assert admission.held == 0


async def test_the_patient_wait_and_are_served_in_order():
    door = Door(10)
    await door.acquire(10)
    first, second, third = await waiting(door, 6, 6, 1)
    door.release(10)
    await settle()
    assert [task.done() for task in (first, second, third)] == [True, False, False]
    door.release(6)
    await settle()
    assert [task.done() for task in (second, third)] == [True, True]
    assert door.held == 7


async def test_a_small_patient_request_does_not_overtake_a_large_one():
    door = Door(10)
    await door.acquire(5)
    large, small = await waiting(door, 8, 1)
    assert [task.done() for task in (large, small)] == [False, False]
    door.release(5)
    await settle()
    assert large.done()
    assert small.done()
    assert door.held == 9


async def test_a_patient_request_larger_than_the_bound_waits_until_it_is_alone():
    door = Door(10)
    await door.acquire(5)
    await door.acquire(5)
    [huge] = await waiting(door, 99)
    door.release(5)
    await settle()
    assert not huge.done()
    door.release(5)
    await settle()
    assert huge.done()
    assert door.held == 99


async def test_who_leaves_while_waiting_takes_no_room_and_lets_the_next_go_first():
    door = Door(10)
    await door.acquire(10)
    gone, next_one = await waiting(door, 9, 3)
    gone.cancel()
    await settle()
    door.release(10)
    await settle()
    assert gone.cancelled()
    assert next_one.done()
    assert door.held == 3


async def test_those_behind_one_who_leaves_are_let_in_as_soon_as_they_fit():
    door = Door(10)
    await door.acquire(5)
    large, small = await waiting(door, 9, 3)
    large.cancel()
    await settle()
    assert small.done()
    assert door.held == 8


async def test_who_leaves_in_the_moment_of_being_let_in_gives_the_room_to_the_next():
    door = Door(10)
    await door.acquire(10)
    gone, next_one = await waiting(door, 10, 10)
    door.release(10)  # `gone` is let in, and has not run yet
    gone.cancel()
    await settle()
    assert gone.cancelled()
    assert next_one.done()
    assert door.held == 10
    door.release(10)
    assert door.held == 0


async def test_who_leaves_last_leaves_nothing_behind():
    door = Door(10)
    await door.acquire(10)
    for task in await waiting(door, 4, 5):
        task.cancel()
    await settle()
    door.release(10)
    assert door.held == 0
    await asyncio.wait_for(door.acquire(10), 1)


async def test_a_patient_caller_that_is_cancelled_while_waiting_holds_nothing():
    admission = Admission(120)
    async with admission.admit(30, STREAM):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), admission.admit(1, STREAM):
                pytest.fail("there is no room")
    assert admission.held == 0


async def test_a_caller_with_much_at_the_door_lets_others_in_by_turns():
    door, order = Door(10), []

    async def enter(name):
        await door.acquire(10, name)
        order.append(name)
        door.release(10)

    await door.acquire(10)
    tasks = [asyncio.create_task(enter("many")) for _ in range(50)]
    tasks.append(asyncio.create_task(enter("one")))
    await asyncio.sleep(0)
    door.release(10)
    await asyncio.gather(*tasks)
    assert order.index("one") <= 1
