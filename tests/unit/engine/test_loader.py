"""loader: weights are loaded once for all who want them, and unloaded when nobody does."""

import asyncio
import time
from contextlib import asynccontextmanager
from contextvars import ContextVar
from types import SimpleNamespace

import pytest
import structlog

from embedsvc.engine import loader as module
from embedsvc.engine.budget import Budget
from embedsvc.engine.loader import FIRST_PAUSE, Loader, State, Weights
from embedsvc.errors import (
    ConfigurationError,
    DeadlineExceededError,
    OverloadedError,
    ProviderDownError,
)
from embedsvc.metrics import Metrics

OF_THE_CALL = ContextVar("of_the_call", default="nothing")
SECRET = "the file at /srv/models is damaged"


class Stock:
    """Makes loaders, and opens their weights when it is told to."""

    def __init__(self, budget=None):
        self.budget = budget or Budget(None)
        self.metrics = Metrics()
        self.opened, self.closed, self.told = [], [], []
        self.knew = []
        self.error = None
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.may_close = asyncio.Event()
        self.may_close.set()

    def make(self, name="m", size=1):
        weights = Weights(name, size, lambda: self._open(name))
        return Loader(weights, self.budget, self.metrics.loading, lambda: self.told.append(name))

    @asynccontextmanager
    async def _open(self, name):
        self.opened.append(name)
        self.knew.append(OF_THE_CALL.get())
        await self.may_open.wait()
        if self.error:
            raise self.error
        yield SimpleNamespace(pool=SimpleNamespace(replicas=["one"]), name=name)
        await self.may_close.wait()
        self.closed.append(name)
        self.knew.append(OF_THE_CALL.get())

    def count(self, result, name="m"):
        labels = {"model": name, "result": result}
        return self.metrics.registry.get_sample_value("embeddings_model_loads_total", labels)


@pytest.fixture
def stock():
    return Stock()


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when it is told to, for the breaker."""
    now = [1000.0]
    monkeypatch.setattr("embedsvc.breaker.time.monotonic", lambda: now[0])
    return now


async def use(loader, deadline=None):
    """What a request does."""
    with loader.wanted():
        return loader.batcher or await loader.need(deadline)


async def begin(loader, deadline=None):
    """A request that waits for the load."""
    task = asyncio.create_task(use(loader, deadline))
    await asyncio.sleep(0)
    return task


async def test_a_hundred_requests_have_them_loaded_once(stock):
    loader = stock.make()
    assert loader.state is State.IDLE
    stock.may_open.clear()
    tasks = [await begin(loader) for _ in range(100)]
    assert loader.state is State.LOADING
    stock.may_open.set()
    assert len({id(batcher) for batcher in await asyncio.gather(*tasks)}) == 1
    assert (stock.opened, stock.told, loader.state) == (["m"], ["m"], State.READY)
    assert stock.count("loaded") == 1
    assert stock.metrics.registry.get_sample_value("embeddings_model_load_seconds_count", {"model": "m"}) == 1
    await use(loader)
    assert stock.opened == ["m"]


async def test_a_caller_that_leaves_does_not_take_the_load_with_it(stock):
    loader = stock.make()
    stock.may_open.clear()
    leaving, staying = await begin(loader), await begin(loader)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    stock.may_open.set()
    assert (await staying).name == "m"
    assert stock.opened == ["m"]


@pytest.mark.parametrize("unload", [Loader.evict, Loader.close])
async def test_what_goes_on_after_a_request_knows_nothing_of_it(stock, unload):
    OF_THE_CALL.set("a key")
    loader = stock.make()
    await use(loader)
    await unload(loader)
    assert stock.knew == ["nothing", "nothing"]


async def test_the_load_goes_on_when_nobody_waits_any_more(stock):
    loader = stock.make()
    stock.may_open.clear()
    with pytest.raises(DeadlineExceededError, match="while the model was loaded"):
        await use(loader, time.monotonic() + 0.02)
    assert loader.state is State.LOADING
    stock.may_open.set()
    assert (await use(loader)).name == "m"
    assert stock.opened == ["m"]


async def test_a_deadline_that_has_passed_begins_the_load_all_the_same(stock):
    loader = stock.make()
    with pytest.raises(DeadlineExceededError):
        await use(loader, time.monotonic() - 1)
    await asyncio.sleep(0)
    assert (await use(loader)).name == "m"


@pytest.mark.parametrize("error", [ConfigurationError(SECRET), OSError(SECRET), TimeoutError(SECRET)])
async def test_why_a_load_failed_is_for_the_log_only(stock, error):
    loader, stock.error = stock.make(), error
    stock.may_open.clear()
    with structlog.testing.capture_logs() as logs:
        tasks = [await begin(loader) for _ in range(3)]
        stock.may_open.set()
        failures = await asyncio.gather(*tasks, return_exceptions=True)
    for failure in failures:
        assert type(failure) is ProviderDownError
        assert failure.message == "the model m could not be loaded; try again later"
        assert failure.retry_after
    assert [(line["event"], line["reason"]) for line in logs] == [("model not loaded", SECRET)]
    assert (loader.state, stock.count("failed"), stock.told) == (State.FAILED, 1, [])


async def test_it_is_tried_again_after_a_pause_that_grows(stock, clock):
    loader, stock.error = stock.make(), ConfigurationError(SECRET)
    for attempt in range(1, 4):
        with pytest.raises(ProviderDownError):
            await use(loader)
        assert len(stock.opened) == attempt
        with pytest.raises(ProviderDownError):  # at once
            await use(loader)
        clock[0] += FIRST_PAUSE * 2 ** (attempt - 1) * 0.7
        with pytest.raises(ProviderDownError):
            await use(loader)
        assert len(stock.opened) == attempt
        clock[0] += FIRST_PAUSE * 2 ** (attempt - 1) * 0.6
    stock.error = None
    assert (await use(loader)).name == "m"
    assert loader.state is State.READY


async def test_whoever_is_to_know_why_is_told_as_itself(stock):
    loader, stock.error = stock.make(), ConfigurationError(SECRET)
    with structlog.testing.capture_logs() as logs, pytest.raises(ConfigurationError, match=SECRET):
        await loader.load()
    assert logs == []


async def test_no_more_than_so_many_wait(stock, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    loader = stock.make()
    stock.may_open.clear()
    tasks = [await begin(loader) for _ in range(2)]
    with pytest.raises(OverloadedError, match="too many wait for the model m"):
        await use(loader)
    stock.may_open.set()
    await asyncio.gather(*tasks)


async def test_one_without_room_is_refused_and_gets_in_as_soon_as_there_is_some():
    stock = Stock(Budget(10))
    first, second = stock.make("first", 10), stock.make("second", 10)
    with first.wanted():
        await first.need(None)
        with pytest.raises(
            OverloadedError, match="second does not fit beside those that are in use"
        ) as caught:
            await use(second)
        assert type(caught.value) is OverloadedError  # not down: nobody is to stand in for it
        assert (second.state, stock.count("refused", "second")) == (State.IDLE, 1)
    assert (await use(second)).name == "second"
    assert (first.state, stock.closed) == (State.IDLE, ["first"])
    evictions = "embeddings_model_evictions_total"
    assert stock.metrics.registry.get_sample_value(evictions, {"model": "first"}) == 1


async def test_one_that_is_being_loaded_makes_no_room():
    stock = Stock(Budget(10))
    first, second = stock.make("first", 10), stock.make("second", 10)
    stock.may_open.clear()
    waiting = await begin(first)
    late = await begin(second)
    stock.may_open.set()
    assert (await waiting).name == "first"
    with pytest.raises(OverloadedError):
        await late


async def test_they_are_loaded_again_when_they_were_unloaded_for_others():
    stock = Stock(Budget(10))
    first, second = stock.make("first", 10), stock.make("second", 10)
    for name in ("first", "second", "first"):
        assert (await use(first if name == "first" else second)).name == name
    assert (stock.opened, stock.closed) == (["first", "second", "first"], ["first", "second"])
    assert stock.told == ["first", "first", "second", "second", "first"]


async def test_one_that_is_pinned_is_never_unloaded_for_others():
    stock = Stock(Budget(10))
    first, second = stock.make("first", 10), stock.make("second", 10)
    first.pinned = True
    await first.load()
    with pytest.raises(OverloadedError):
        await use(second)
    assert first.state is State.READY


async def test_closing_waits_for_those_who_hold_them_and_lets_nobody_else_in(stock):
    loader = stock.make()
    await loader.load()
    with loader.held():
        closing = asyncio.create_task(loader.close())
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            loader.held().__enter__()
        assert (await use(loader)).name == "m"  # who holds them may have them
        assert stock.closed == []
    await closing
    assert stock.closed == ["m"]
    with pytest.raises(OverloadedError):
        await use(loader)
    assert loader.state is State.FAILED


async def test_who_holds_them_may_have_them_loaded_while_they_are_closed(stock):
    loader = stock.make()
    with loader.held():
        closing = asyncio.create_task(loader.close())
        await asyncio.sleep(0)
        assert (await use(loader)).name == "m"
    await closing
    assert stock.closed == ["m"]


async def test_closing_ends_a_load_that_nobody_waits_for(stock):
    loader = stock.make()
    stock.may_open.clear()
    with pytest.raises(DeadlineExceededError):
        await use(loader, time.monotonic() + 0.01)
    async with asyncio.timeout(5):
        await loader.close()
    assert (stock.opened, stock.closed, stock.budget.used) == (["m"], [], 0)


async def test_closing_that_is_cancelled_goes_on_and_can_be_waited_for_again(stock):
    loader = stock.make()
    await loader.load()
    stock.may_close.clear()
    closing = asyncio.create_task(loader.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    stock.may_close.set()
    await loader.close()
    assert stock.closed == ["m"]


async def test_closing_waits_until_they_have_made_room():
    stock = Stock(Budget(10))
    first, second = stock.make("first", 10), stock.make("second", 10)
    await use(first)
    stock.may_close.clear()
    entering = await begin(second)
    for _ in range(3):
        await asyncio.sleep(0)
    closing = asyncio.create_task(first.close())
    await asyncio.sleep(0)
    assert (closing.done(), stock.closed) == (False, [])
    stock.may_close.set()
    await closing
    assert stock.closed == ["first"]
    assert (await entering).name == "second"
