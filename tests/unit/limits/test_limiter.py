"""limits.limiter: buckets are filled behind the callers' backs, and nobody waits for a store."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from embedsvc import background
from embedsvc.limits import limiter as module
from embedsvc.limits.bucket import Limit
from embedsvc.limits.limiter import open_limiter
from embedsvc.metrics import Metrics
from embedsvc.store.protocols import StoreAwayError
from embedsvc.store.records import Grant
from embedsvc.store.sqlite.store import open_sqlite

REQUESTS = Limit("key:a:requests", 100, 60.0)
TOKENS = Limit("key:a:tokens", 1000, 60.0)


class Sick:
    """A store that can be made to hang or to fail."""

    def __init__(self):
        self.well = asyncio.Event()
        self.calls = []
        self.error = None

    async def lease(self, wants):
        self.calls.append(list(wants))
        if self.error:
            raise self.error
        await self.well.wait()
        return [Grant(want.units, want.limit - want.units, 60.0) for want in wants]


@pytest.fixture
def metrics():
    return Metrics().limits


@pytest.fixture
def sick():
    return Sick()


@pytest.fixture
async def limited(sick, metrics):
    async with open_limiter(sick, metrics) as opened:
        yield opened


async def take(limiter, *buckets, units=1):
    return await limiter.take(buckets, units, time.monotonic())


async def test_a_burst_waits_a_moment_for_what_is_on_its_way_and_all_of_it_passes(limited, sick):
    sick.well.set()
    bucket = limited.bucket(Limit("key:b:requests", 10, 60.0))
    assert (await asyncio.gather(*(take(limited, bucket) for _ in range(8)))).count(None) == 8


async def test_a_request_larger_than_a_block_waits_for_a_lease_of_its_size(limited, sick):
    sick.well.set()
    assert await take(limited, limited.bucket(TOKENS), units=700) is None


def count(metric):
    return metric._value.get()


async def test_a_limit_is_held_with_a_real_store(tmp_path, metrics):
    async with open_sqlite(tmp_path / "x.db") as store, open_limiter(store, metrics) as limiter:
        bucket = limiter.bucket(REQUESTS)
        taken = await asyncio.gather(*(take(limiter, bucket) for _ in range(300)))
        assert 100 <= taken.count(None) <= 110


async def test_the_same_limit_is_the_same_bucket_until_it_changes(limited):
    assert limited.bucket(REQUESTS) is limited.bucket(REQUESTS)
    assert limited.bucket(Limit(REQUESTS.name, 50, 60.0)) is not limited.bucket(REQUESTS)


async def test_of_several_limits_all_are_charged_or_none(limited, sick):
    sick.well.set()
    buckets = [limited.bucket(REQUESTS), limited.bucket(TOKENS)]
    assert await take(limited, *buckets, units=200) is buckets[0]
    assert [bucket.remaining(time.monotonic()) for bucket in buckets] == [100, 1000]


async def test_wants_of_many_limits_go_in_one_call(limited, sick):
    sick.well.set()
    buckets = [limited.bucket(Limit(f"key:{at}:requests", 10, 60.0)) for at in range(50)]
    await take(limited, *buckets)
    assert [len(call) for call in sick.calls] == [50]


async def test_the_very_first_use_waits_a_moment_for_a_store_that_hangs_and_passes(limited, metrics):
    bucket = limited.bucket(REQUESTS)
    started = time.monotonic()
    assert await take(limited, bucket) is None
    assert time.monotonic() - started >= module.FIRST_SECONDS
    assert count(metrics.late) == 1


async def test_a_store_that_fails_is_told_of_once_and_counted(limited, sick, metrics, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)
    sick.error = StoreAwayError("no")
    bucket = limited.bucket(Limit("key:a:requests", 1_000_000_000, 60.0))
    with capture_logs() as logs:
        while len(sick.calls) < 3:
            assert await take(limited, bucket) is None
            await asyncio.sleep(0)
        sick.error = None
        sick.well.set()
        while limited._presence.away:
            await take(limited, bucket)
            await asyncio.sleep(0)
    assert [line["event"] for line in logs] == [
        "limits are not shared; each server holds them by itself",
        "limits are shared again",
    ]
    assert count(metrics.failures) >= 3
    assert count(metrics.opened) >= 2


async def test_while_the_store_is_away_a_new_limit_does_not_wait(limited, sick):
    sick.error = StoreAwayError("no")
    await take(limited, limited.bucket(REQUESTS))
    async with asyncio.timeout(module.FIRST_SECONDS / 2):
        assert await take(limited, limited.bucket(TOKENS)) is None


async def test_a_lease_that_comes_late_counts_and_meanwhile_no_other_is_asked_for(limited, sick, monkeypatch):
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.001)
    bucket = limited.bucket(REQUESTS)
    for _ in range(7):
        assert await take(limited, bucket) is None
    assert len(sick.calls) == 1
    sick.well.set()
    while limited._presence.away:  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0)
    # Ten were leased, and seven of them are gone.
    assert bucket.remaining(time.monotonic()) == 93


async def test_an_error_that_nobody_expects_fails_open_too_and_the_next_lease_is_asked_for(
    limited, sick, monkeypatch
):
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)
    sick.error = KeyError("a mistake of ours")
    bucket = limited.bucket(REQUESTS)
    with capture_logs() as logs:
        assert await take(limited, bucket) is None
        assert limited._presence.away
        sick.error = None
        sick.well.set()
        async with asyncio.timeout(20):
            while limited._presence.away:
                assert await take(limited, bucket) is None
                await asyncio.sleep(0.001)
    assert "background work failed; it begins anew" in [line["event"] for line in logs]
