"""check: checks run side by side, each bounded in time, and one that fails is a finding."""

import asyncio
import threading

import pytest

from embedsvc.config import Settings
from embedsvc.doctor.check import Check, examine, in_thread
from embedsvc.doctor.finding import Finding, Subject

SETTINGS = Settings.model_construct()
FIRST, SECOND = Subject("first"), Subject("second")


async def well(_settings):
    yield SECOND.ok("seen")


async def test_findings_come_in_the_order_of_the_checks_whichever_is_ready_first():
    async def slow(_settings):
        await asyncio.sleep(0.05)
        yield FIRST.note("late")

    found = await examine([Check(FIRST, slow), Check(SECOND, well)], SETTINGS)
    assert found == [Finding("first", "note", "late"), Finding("second", "ok", "seen")]


async def test_checks_that_wait_wait_side_by_side():
    barrier = asyncio.Barrier(3)

    async def meet(_settings):
        await barrier.wait()  # nobody passes alone
        yield FIRST.ok("met")

    assert len(await examine([Check(FIRST, meet, 10)] * 3, SETTINGS)) == 3


async def test_one_that_hangs_is_told_of_with_what_it_had_found():
    async def hang(_settings):
        yield FIRST.ok("so far")
        await asyncio.Event().wait()

    before, told, after = await examine([Check(FIRST, hang, 0.05), Check(SECOND, well)], SETTINGS)
    assert (before.seen, after.seen) == ("so far", "seen")
    assert (told.subject, told.level) == ("first", "error")
    assert told.seen == "this could not be looked at within 0.05 seconds"


async def test_one_that_fails_names_the_exception_and_keeps_what_it_had_found():
    async def fail(_settings):
        yield FIRST.ok("so far")
        raise LookupError("nobody thought of this")

    before, told, after = await examine([Check(FIRST, fail), Check(SECOND, well)], SETTINGS)
    assert (before.seen, after.seen) == ("so far", "seen")
    assert told.level == "error"
    assert told.seen == "this could not be looked at: LookupError: nobody thought of this"
    assert "report" in told.advice


async def test_what_blocks_is_looked_at_in_a_thread():
    def look(_settings):
        yield FIRST.ok(threading.current_thread().name)
        raise OSError("gone")

    name, told = await examine([Check(FIRST, in_thread(look))], SETTINGS)
    assert name.seen != threading.main_thread().name
    assert told.seen.endswith("OSError: gone")


async def test_being_told_to_stop_is_not_a_finding():
    async def hang(_settings):
        yield FIRST.ok("so far")
        await asyncio.Event().wait()

    task = asyncio.create_task(examine([Check(FIRST, hang)], SETTINGS))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
