"""offload: blocking work goes to threads, together where it comes together."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from embedsvc.engine.offload import LARGE, PLENTY, Offload, Threads, open_threads

SECONDS = 10


class Counted(ThreadPoolExecutor):
    """Threads that count the hops."""

    hops = 0

    def submit(self, *arguments):
        self.hops += 1
        return super().submit(*arguments)


@pytest.fixture
def threads():
    with Counted(1) as one, Counted(2) as many:
        yield Threads(one, many)


def double(items):
    return [2 * item for item in items]


async def test_what_comes_at_once_goes_in_one_hop_and_everyone_gets_his_own(threads):
    offload = Offload(threads, double)
    results = await asyncio.gather(*(offload.run(number, 10) for number in range(20)))
    assert results == list(range(0, 40, 2))
    assert (threads.one.hops, threads.many.hops) == (1, 0)


class Gate:
    """Work of which the item `HELD` takes until the gate is open; other items are what they were.

    Attributes:
        hops: What came together.
    """

    HELD = -1

    def __init__(self):
        self.hops, self._open, self._held = [], threading.Event(), threading.Event()

    def __call__(self, items):
        self.hops.append(items)
        if self.HELD in items:
            self._held.set()
            assert self._open.wait(SECONDS)
        return items

    def open(self):
        self._open.set()

    async def held(self):
        assert await asyncio.to_thread(self._held.wait, SECONDS)


async def test_what_comes_while_a_hop_is_under_way_goes_in_the_next_one(threads):
    gate = Gate()
    offload = Offload(threads, gate)
    first = asyncio.create_task(offload.run(gate.HELD, 1))
    await gate.held()
    others = [asyncio.create_task(offload.run(number, 10)) for number in range(20)]
    await asyncio.sleep(0)
    gate.open()
    assert await asyncio.wait_for(asyncio.gather(*others), SECONDS) == list(range(20))
    assert await first == gate.HELD
    assert gate.hops == [[gate.HELD], list(range(20))]


async def test_what_is_worth_a_hop_of_its_own_does_not_wait_for_another(threads):
    gate = Gate()
    offload = Offload(threads, gate)
    first = asyncio.create_task(offload.run(gate.HELD, 1))
    await gate.held()
    enough = PLENTY // LARGE + 1
    others = [offload.run(number, LARGE) for number in range(enough)]
    assert await asyncio.wait_for(asyncio.gather(*others), SECONDS) == list(range(enough))
    assert not first.done()
    gate.open()
    assert await first == gate.HELD


async def test_small_work_is_always_done_in_the_same_thread_and_large_work_in_others():
    with open_threads(2, "worker") as threads:
        offload = Offload(threads, lambda items: [threading.current_thread().name] * len(items))
        small = {await offload.run(None, 1) for _ in range(20)}
        assert small == {"worker_0"}
        assert (await offload.run(None, LARGE + 1)).startswith("worker-large_")


async def test_large_work_goes_by_itself_and_nobody_waits_for_it(threads):
    gate = Gate()
    offload = Offload(threads, gate)
    large = asyncio.create_task(offload.run(gate.HELD, LARGE + 1))
    await gate.held()
    assert await asyncio.wait_for(offload.run(7, 1), SECONDS) == 7
    assert not large.done()
    gate.open()
    assert await large == gate.HELD


class PanicError(BaseException):
    """As pyo3's."""


@pytest.mark.parametrize(
    ("error", "told"),
    [(ZeroDivisionError("0"), ZeroDivisionError), (PanicError("out of bounds"), RuntimeError)],
)
async def test_an_error_is_its_own_caller_s_even_that_of_a_library_in_a_panic(threads, error, told):
    def work(items):
        if 0 in items:
            raise error
        return items

    offload = Offload(threads, work)
    asked = [offload.run(number, 1) for number in (1, 0, 2)]
    first, bad, last = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), SECONDS)
    assert (first, last) == (1, 2)
    assert isinstance(bad, told)


async def test_who_leaves_takes_nothing_from_the_others(threads):
    offload = Offload(threads, double)
    gone = asyncio.create_task(offload.run(1, 1))
    stays = asyncio.create_task(offload.run(2, 1))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == 4
