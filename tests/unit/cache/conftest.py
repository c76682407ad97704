"""What a cache is made of, and a Redis of one's own."""

import pytest
from cached import Counts, has, rows_of, until
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from support.redis import run_redis

from embedsvc.cache.cache import open_cache
from embedsvc.metrics.cache import cache_metrics


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    return cache_metrics(registry)


@pytest.fixture
def counts(registry):
    return Counts(registry)


@pytest.fixture
def redis(tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    with run_redis(folder) as running:
        yield running


@pytest.fixture
def logs():
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def cache(settings, metrics, logs):
    """One that has no memory, and three texts in the second level that a test's settings choose."""
    async with open_cache(settings, None, metrics) as opened:
        await opened.keep(rows_of("abc"))
        await until(lambda: has(opened, "abc"))
        yield opened
