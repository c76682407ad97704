"""ledger.outbox: rows reach the store in batches, each once, and nobody waits for it."""

import asyncio

import pytest
from structlog.testing import capture_logs

from embedsvc.background import running
from embedsvc.ledger import outbox as module
from embedsvc.ledger.outbox import Bounds, Outbox
from embedsvc.metrics import Metrics
from embedsvc.store.protocols import StoreAwayError, StoreRefusedError

BOUNDS = Bounds(rows=1000, batch=200, seconds=0.01)


class Store:
    """Keeps batches by their id; fails as often as it is told to, before or after it has kept one."""

    def __init__(self):
        self.batches = {}
        self.sent = []
        self.errors = []
        self.kept_then = []
        self.well = asyncio.Event()
        self.well.set()

    async def send(self, batch_id, rows):
        self.sent.append(batch_id)
        await self.well.wait()
        if self.errors:
            raise self.errors.pop()
        self.batches.setdefault(batch_id, list(rows))
        if self.kept_then:
            raise self.kept_then.pop()

    @property
    def rows(self):
        return [row for rows in self.batches.values() for row in rows]


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def metrics():
    return Metrics().outbox("requests")


@pytest.fixture
def outbox(store, metrics):
    return Outbox("requests", store.send, BOUNDS, metrics)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "MOST_PAUSE_SECONDS", 0.001)


def count(metric):
    return metric._value.get()


async def until(reached):
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0)


async def test_rows_go_in_batches_and_in_order(outbox, store, metrics):
    for row in range(450):
        outbox.put(row)
    async with running(outbox.run):
        await until(lambda: len(store.rows) == 450)
    assert store.rows == list(range(450))
    assert [len(rows) for rows in store.batches.values()] == [200, 200, 50]
    assert count(metrics.kept) == 450


async def test_a_row_alone_goes_after_a_moment(outbox, store):
    async with running(outbox.run):
        outbox.put("alone")
        await until(lambda: store.rows == ["alone"])


async def test_a_batch_that_fails_is_sent_again_under_the_same_id(outbox, store, metrics):
    store.errors = [StoreAwayError("no")] * 3
    outbox.put(1)
    with capture_logs() as logs:
        async with running(outbox.run):
            await until(lambda: store.rows == [1])
    assert len(store.sent) == 4
    assert len(set(store.sent)) == 1
    assert count(metrics.failures) == 3
    assert [line["event"] for line in logs] == ["requests are not kept; they wait", "requests are kept again"]


async def test_a_batch_that_was_kept_though_the_answer_was_lost_is_there_once(outbox, store):
    store.kept_then = [StoreAwayError("the connection broke")]
    outbox.put(1)
    async with running(outbox.run):
        await until(lambda: len(store.sent) == 2)
    assert store.rows == [1]


async def test_a_store_that_hangs_is_given_up_and_asked_again(outbox, store, monkeypatch):
    monkeypatch.setattr(module, "SEND_SECONDS", 0.001)
    store.well.clear()
    outbox.put(1)
    async with running(outbox.run):
        await until(lambda: len(store.sent) >= 2)
        store.well.set()
        await until(lambda: store.rows == [1])


async def test_a_batch_that_the_store_refuses_is_dropped_and_told_of_and_the_next_goes(
    outbox, store, metrics
):
    store.errors = [StoreRefusedError("malformed")]
    with capture_logs() as logs:
        async with running(outbox.run):
            outbox.put(1)
            await until(lambda: count(metrics.dropped) == 1)
            outbox.put(2)
            await until(lambda: store.rows == [2])
    assert logs[0]["event"] == "the store refuses a batch"


async def test_what_does_not_fit_drops_the_oldest_and_is_counted(outbox, store, metrics):
    for row in range(1005):
        outbox.put(row)
    assert count(metrics.dropped) == 5
    await outbox.drain(10)
    assert store.rows == list(range(5, 1005))


async def test_draining_sends_all_that_is_left_the_batch_under_way_first_and_once(outbox, store):
    store.well.clear()
    outbox.put(1)
    async with running(outbox.run):
        await until(lambda: len(store.sent) == 1)
        outbox.put(2)
    store.well.set()
    await outbox.drain(10)
    assert store.rows == [1, 2]
    assert store.sent[0] == store.sent[1]


async def test_draining_ends_in_time_and_counts_what_is_lost(outbox, store, metrics):
    store.well.clear()
    for row in range(250):
        outbox.put(row)
    with capture_logs() as logs:
        await outbox.drain(0.01)
    assert count(metrics.dropped) == 250
    assert logs[-1] == {
        "event": "rows were dropped",
        "what": "requests",
        "count": 250,
        "log_level": "warning",
    }
