"""offload: blocking work goes to threads, together where it comes together."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from embedsvc.engine.offload import LARGE, Offload

SECONDS = 10


class Counted(ThreadPoolExecutor):
    """Threads that count the hops."""

    hops = 0

    def submit(self, *arguments):
        self.hops += 1
        return super().submit(*arguments)


@pytest.fixture
def threads():
    with Counted(2) as running:
        yield running


async def test_what_comes_at_once_goes_in_one_hop_and_everyone_gets_his_own(threads):
    offload = Offload(threads)
    results = await asyncio.gather(*(offload.run(lambda it=number: 2 * it, 10) for number in range(20)))
    assert results == list(range(0, 40, 2))
    assert threads.hops == 1


async def held(offload, over):
    """Small work that is under way until the event is set."""
    task = asyncio.create_task(offload.run(lambda: over.wait(SECONDS), 1))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_what_comes_while_a_hop_is_under_way_goes_in_the_next_one(threads):
    offload, over = Offload(threads), threading.Event()
    first = await held(offload, over)
    others = [asyncio.create_task(offload.run(lambda it=number: it, 10)) for number in range(20)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert threads.hops == 1
    over.set()
    assert await asyncio.wait_for(asyncio.gather(*others), SECONDS) == list(range(20))
    assert await first
    assert threads.hops == 2


async def test_what_is_worth_a_hop_of_its_own_does_not_wait_for_another(threads):
    offload, over = Offload(threads), threading.Event()
    first = await held(offload, over)
    others = [offload.run(lambda it=number: it, LARGE) for number in range(2)]
    assert await asyncio.wait_for(asyncio.gather(*others), SECONDS) == [0, 1]
    assert not first.done()
    over.set()
    assert await first


async def test_work_is_done_in_another_thread(threads):
    thread = await Offload(threads).run(threading.current_thread, 1)
    assert thread is not threading.main_thread()


async def test_large_work_goes_by_itself_and_nobody_waits_for_it(threads):
    offload, over = Offload(threads), threading.Event()
    large = asyncio.create_task(offload.run(lambda: over.wait(SECONDS), LARGE + 1))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(offload.run(lambda: 7, 1), SECONDS) == 7
    assert not large.done()
    over.set()
    assert await large


async def test_an_error_is_its_own_caller_s(threads):
    offload = Offload(threads)
    bad, good = await asyncio.gather(
        offload.run(lambda: 1 / 0, 1), offload.run(lambda: 7, 1), return_exceptions=True
    )
    assert isinstance(bad, ZeroDivisionError)
    assert good == 7


async def test_who_leaves_takes_nothing_from_the_others(threads):
    offload = Offload(threads)
    gone = asyncio.create_task(offload.run(lambda: 1, 1))
    stays = asyncio.create_task(offload.run(lambda: 2, 1))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == 2


async def test_a_panic_of_a_library_is_an_error_and_leaves_nobody_waiting(threads):
    class PanicError(BaseException):
        """As pyo3's."""

    def panic():
        raise PanicError("index out of bounds")

    offload = Offload(threads)
    bad, good = await asyncio.wait_for(
        asyncio.gather(offload.run(panic, 1), offload.run(lambda: 7, 1), return_exceptions=True), SECONDS
    )
    assert isinstance(bad, RuntimeError)
    assert good == 7
