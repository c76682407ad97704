"""admission: a bound on what waits, first come first served among those who are patient."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from embedsvc.engine.admission import Admission
from embedsvc.errors import OverloadedError


async def settle():
    """Let every task that can run, run."""
    for _ in range(3):
        await asyncio.sleep(0)


async def waiting(admission, *sizes):
    """Tasks that wait for room, in this order."""
    tasks = []
    for size in sizes:
        tasks.append(asyncio.create_task(admission.acquire(size)))
        await settle()
    return tasks


async def test_what_fits_is_let_in_and_counted_until_it_leaves():
    admission = Admission(10)
    async with admission.admit(4, patient=False), admission.admit(6, patient=False):
        assert admission.held == 10
    assert admission.held == 0


async def test_what_does_not_fit_is_refused_at_once_and_worth_another_try():
    admission = Admission(10)
    async with admission.admit(4, patient=False):
        with pytest.raises(OverloadedError, match="the queue is full") as caught:
            await admission.admit(7, patient=False).__aenter__()
        assert caught.value.retry_after
        assert admission.held == 4
        async with admission.admit(6, patient=False):
            assert admission.held == 10


@pytest.mark.parametrize("patient", [True, False])
async def test_what_is_larger_than_the_bound_is_let_in_when_nothing_else_is(patient):
    admission = Admission(10)
    async with admission.admit(99, patient=patient):
        assert admission.held == 99
        with pytest.raises(OverloadedError):
            await admission.admit(1, patient=False).__aenter__()
    async with admission.admit(10, patient=False):
        assert admission.held == 10


async def test_room_is_given_back_when_the_work_fails():
    admission = Admission(10)
    with pytest.raises(ZeroDivisionError):
        async with admission.admit(10, patient=False):
            raise ZeroDivisionError
    assert admission.held == 0


async def test_the_patient_wait_and_are_served_in_order():
    admission = Admission(10)
    await admission.acquire(10)
    first, second, third = await waiting(admission, 6, 6, 1)
    admission.release(10)
    await settle()
    assert [task.done() for task in (first, second, third)] == [True, False, False]
    admission.release(6)
    await settle()
    assert [task.done() for task in (second, third)] == [True, True]
    assert admission.held == 7


async def test_a_small_patient_request_does_not_overtake_a_large_one():
    admission = Admission(10)
    await admission.acquire(5)
    large, small = await waiting(admission, 8, 1)
    assert [task.done() for task in (large, small)] == [False, False]
    admission.release(5)
    await settle()
    assert large.done()
    assert small.done()
    assert admission.held == 9


async def test_a_patient_request_larger_than_the_bound_waits_until_it_is_alone():
    admission = Admission(10)
    await admission.acquire(5)
    await admission.acquire(5)
    [huge] = await waiting(admission, 99)
    admission.release(5)
    await settle()
    assert not huge.done()
    admission.release(5)
    await settle()
    assert huge.done()
    assert admission.held == 99


async def test_who_leaves_while_waiting_takes_no_room_and_lets_the_next_go_first():
    admission = Admission(10)
    await admission.acquire(10)
    gone, next_one = await waiting(admission, 9, 3)
    gone.cancel()
    await settle()
    admission.release(10)
    await settle()
    assert gone.cancelled()
    assert next_one.done()
    assert admission.held == 3


async def test_those_behind_one_who_leaves_are_let_in_as_soon_as_they_fit():
    admission = Admission(10)
    await admission.acquire(5)
    large, small = await waiting(admission, 9, 3)
    large.cancel()
    await settle()
    assert small.done()
    assert admission.held == 8


async def test_who_leaves_in_the_moment_of_being_let_in_gives_the_room_to_the_next():
    admission = Admission(10)
    await admission.acquire(10)
    gone, next_one = await waiting(admission, 10, 10)
    admission.release(10)  # `gone` is let in, and has not run yet
    gone.cancel()
    await settle()
    assert gone.cancelled()
    assert next_one.done()
    assert admission.held == 10
    admission.release(10)
    assert admission.held == 0


async def test_who_leaves_last_leaves_nothing_behind():
    admission = Admission(10)
    await admission.acquire(10)
    for task in await waiting(admission, 4, 5):
        task.cancel()
    await settle()
    admission.release(10)
    assert admission.held == 0
    await asyncio.wait_for(admission.acquire(10), 1)


async def test_a_patient_context_that_is_cancelled_while_waiting_holds_nothing():
    admission = Admission(10)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(admission.admit(10, patient=False))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), admission.admit(1, patient=True):
                pytest.fail("there is no room")
    assert admission.held == 0
