"""limits.limiter: what a store that is slow or away makes of limits that are used for the first time."""

import asyncio
import time

import pytest

from embedsvc.limits import limiter as module
from embedsvc.limits.bucket import Limit
from embedsvc.limits.limiter import open_limiter
from embedsvc.metrics import Metrics
from embedsvc.store.protocols import StoreAwayError
from embedsvc.store.records import Grant

LIMIT = Limit("key:a:requests", 100, 60.0)


class Store:
    """A store that hangs until it is let go, or that fails."""

    def __init__(self):
        self.answers = asyncio.Event()
        self.calls = []
        self.error = None

    async def lease(self, wants):
        self.calls.append(len(wants))
        if self.error:
            raise self.error
        await self.answers.wait()
        return [Grant(want.units, want.limit - want.units, 60.0) for want in wants]


@pytest.fixture
def store():
    return Store()


@pytest.fixture
async def limiter(store):
    async with open_limiter(store, Metrics().limits) as opened:
        yield opened


def late(limiter):
    return limiter._metrics.late._value.get()


async def take(limiter, *buckets, units=1):
    return await limiter.take(buckets, units, time.monotonic())


async def test_nobody_waits_twice_for_a_limit_whose_store_hangs(limiter):
    bucket = limiter.bucket(LIMIT)
    assert await take(limiter, bucket) is None
    assert bucket.known
    assert await take(limiter, bucket) is None
    assert late(limiter) == 1


async def test_a_limit_that_is_new_while_the_store_is_away_is_the_servers_own_from_its_first_use_on(
    limiter, store
):
    store.error = StoreAwayError("no")
    await take(limiter, limiter.bucket(LIMIT))
    bucket = limiter.bucket(Limit("key:b:requests", 100, 60.0))
    assert [await take(limiter, bucket) for _ in range(200)].count(None) == 100
    assert late(limiter) == 0


async def test_while_the_store_hangs_every_limit_fails_open_and_not_only_the_one_that_was_asked_for(
    limiter, store, monkeypatch
):
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.001)
    buckets = [limiter.bucket(Limit(f"key:{at}:requests", 100, 60.0)) for at in range(3)]
    passed = [[await take(limiter, bucket) for _ in range(60)].count(None) for bucket in buckets]
    assert passed == [60, 60, 60]
    assert len(store.calls) == 1


async def test_many_limits_are_asked_for_in_calls_that_the_store_can_answer(limiter, store):
    store.answers.set()
    buckets = [limiter.bucket(Limit(f"key:{at}:requests", 10, 60.0)) for at in range(250)]
    limiter.expect(buckets)
    async with asyncio.timeout(20):
        while not all(bucket.known for bucket in buckets):
            await limiter._answered.wait()
    assert store.calls == [module.AT_ONCE, module.AT_ONCE, 50]
