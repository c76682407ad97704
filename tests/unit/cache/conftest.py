"""What a cache is made of, and a Redis of one's own."""

import pytest
from cached import Counts
from prometheus_client import CollectorRegistry
from support.redis import run_redis

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
