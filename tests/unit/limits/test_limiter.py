"""limits.limiter: buckets are filled behind the callers' backs, and nobody waits for a store."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

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


def count(metric):
    return metric._value.get()


async def test_a_limit_is_held_with_a_real_store(tmp_path, metrics):
    async with open_sqlite(tmp_path / "x.db") as store, open_limiter(store, metrics) as limiter:
        bucket = limiter.bucket(REQUESTS)
        await limiter.prepare([bucket], time.monotonic())
        passed = 0
        for _ in range(300):
            passed += limiter.take([bucket], 1) is None
            await store.check()  # time for a lease to come back
        assert 100 <= passed <= 110


async def test_the_same_limit_is_the_same_bucket_until_it_changes(limited):
    assert limited.bucket(REQUESTS) is limited.bucket(REQUESTS)
    assert limited.bucket(Limit(REQUESTS.name, 50, 60.0)) is not limited.bucket(REQUESTS)


async def test_of_several_limits_all_are_charged_or_none(limited, sick):
    sick.well.set()
    buckets = [limited.bucket(REQUESTS), limited.bucket(TOKENS)]
    await limited.prepare(buckets, time.monotonic())
    assert limited.take(buckets, 200) is buckets[0]
    assert [bucket.remaining(time.monotonic()) for bucket in buckets] == [100, 1000]


async def test_wants_of_many_limits_go_in_one_call(limited, sick):
    sick.well.set()
    buckets = [limited.bucket(Limit(f"key:{at}:requests", 10, 60.0)) for at in range(50)]
    await limited.prepare(buckets, time.monotonic())
    assert [len(call) for call in sick.calls] == [50]


async def test_the_very_first_use_waits_a_moment_for_a_store_that_hangs_and_passes(limited, metrics):
    bucket = limited.bucket(REQUESTS)
    started = time.monotonic()
    await limited.prepare([bucket], time.monotonic())
    assert time.monotonic() - started >= module.FIRST_SECONDS
    assert limited.take([bucket], 1) is None
    assert count(metrics.late) == 1


async def test_a_store_that_fails_is_told_of_once_and_counted(limited, sick, metrics, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)
    sick.error = StoreAwayError("no")
    bucket = limited.bucket(Limit("key:a:requests", 1_000_000_000, 60.0))
    with capture_logs() as logs:
        await limited.prepare([bucket], time.monotonic())
        while len(sick.calls) < 3:
            assert limited.take([bucket], 1) is None
            await asyncio.sleep(0)
        sick.error = None
        sick.well.set()
        while limited._presence.away:
            limited.take([bucket], 1)
            await asyncio.sleep(0)
    assert [line["event"] for line in logs] == [
        "limits are not shared; each server holds them by itself",
        "limits are shared again",
    ]
    assert count(metrics.failures) >= 3
    assert count(metrics.opened) >= 2


async def test_while_the_store_is_away_a_new_limit_does_not_wait(limited, sick):
    sick.error = StoreAwayError("no")
    await limited.prepare([limited.bucket(REQUESTS)], time.monotonic())
    bucket = limited.bucket(TOKENS)
    await asyncio.wait_for(limited.prepare([bucket], time.monotonic()), module.FIRST_SECONDS / 2)
    assert limited.take([bucket], 1) is None


async def test_a_lease_that_comes_late_counts_and_meanwhile_no_other_is_asked_for(limited, sick, monkeypatch):
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.001)
    bucket = limited.bucket(REQUESTS)
    await limited.prepare([bucket], time.monotonic())
    for _ in range(7):
        assert limited.take([bucket], 1) is None
    assert len(sick.calls) == 1
    sick.well.set()
    while limited._presence.away:  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0)
    # Ten were leased, and seven of them are gone.
    assert bucket.remaining(time.monotonic()) == 93
