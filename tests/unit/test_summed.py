"""summed: the series of several processes, shown as those of one."""

import subprocess
import sys

import pytest

from embedsvc import summed
from embedsvc.config import CostSettings
from embedsvc.metrics import Metrics
from embedsvc.metrics.cost import count_machine

COUNT = """
import sys
from pathlib import Path
from embedsvc import summed
from embedsvc.config import CostSettings
from embedsvc.metrics import Metrics
from embedsvc.metrics.cost import count_machine

summed.count_in_files(Path(sys.argv[1]), int(sys.argv[2]))
metrics = Metrics()
metrics.requests.labels("Embed", "OK").inc(3)
metrics.duration.labels("Embed").observe(0.5)
metrics.in_flight.labels("Embed").inc(2)
metrics.engine("m").restarts.inc(7)
metrics.cost.answered(500_000)
count_machine(metrics.registry, CostSettings(usd_per_hour=1000.0))
metrics.replicas_ready.labels("m").set(5)
metrics.queue_tokens.labels("m").set_function(lambda: 11)
metrics.admitted_tokens.set_function(lambda: 13)
summed.publish(metrics)
"""
CALLS = ("embeddings_requests_total", {"rpc": "Embed", "code": "OK"})
UNDER_WAY = ("embeddings_in_flight", {"rpc": "Embed"})


@pytest.fixture
def count(tmp_path):
    """Counts some things in a process of a number."""

    def run(number):
        subprocess.run([sys.executable, "-c", COUNT, tmp_path, str(number)], check=True, timeout=60)

    return run


@pytest.fixture
def owned():
    metrics = Metrics()
    metrics.engine("m").restarts.inc()
    metrics.replicas_ready.labels("m").set_function(lambda: 1)
    return metrics


@pytest.fixture
def shown(owned, tmp_path):
    return summed.add_up(owned, tmp_path).get_sample_value


def test_what_each_counts_is_added_up(count, shown):
    count(1)
    count(2)
    assert shown(*CALLS) == 6
    assert shown("embeddings_duration_seconds_count", {"rpc": "Embed"}) == 2
    assert shown("embeddings_duration_seconds_bucket", {"rpc": "Embed", "le": "0.5"}) == 2
    assert shown("embeddings_duration_seconds_sum", {"rpc": "Embed"}) == 1
    assert shown(*UNDER_WAY) == 4


def test_gauges_that_are_looked_up_are_added_up_as_they_were_published(count, shown):
    count(1)
    count(2)
    assert shown("embeddings_queue_tokens", {"model": "m"}) == 22
    assert shown("embeddings_admitted_tokens") == 26


def test_of_replicas_the_owner_s_word_counts(count, shown):
    count(1)
    assert shown("embeddings_replica_restarts_total", {"model": "m"}) == 1
    assert shown("embeddings_replicas_ready", {"model": "m"}) == 1


def test_of_the_machine_too_since_it_is_there_once(count, shown, owned):
    assert shown("embeddings_machine_usd_total") is None
    count_machine(owned.registry, CostSettings(usd_per_hour=0.0))
    count(1)
    count(2)
    assert shown("embeddings_machine_usd_total") == 0


def test_what_openai_would_have_asked_is_added_up(count, shown):
    count(1)
    count(2)
    assert shown("embeddings_openai_usd_total", {"price": "3-large"}) == pytest.approx(0.13)


def test_who_takes_another_s_number_counts_on(count, shown):
    count(1)
    count(1)
    assert shown(*CALLS) == 6


def test_who_has_ended_has_nothing_under_way_but_has_counted(count, shown, tmp_path):
    count(1)
    count(2)
    summed.forget(tmp_path, 1)
    assert shown(*CALLS) == 6
    assert shown(*UNDER_WAY) == 2


def test_before_anybody_counts_the_owner_s_series_are_there(shown):
    assert shown("embeddings_replicas_ready", {"model": "m"}) == 1
    assert shown(*CALLS) is None


def test_every_series_is_shown_once(count, owned, tmp_path):
    count(1)
    names = [family.name for family in summed.add_up(owned, tmp_path).collect()]
    assert len(names) == len(set(names))
