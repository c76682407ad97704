"""metrics.cost: what the machine costs grows with the time, what OpenAI would have asked with the tokens."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from embedsvc.config import CostSettings
from embedsvc.metrics.cost import CostMetrics, count_machine


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def clock():
    return Clock()


def test_tokens_are_counted_at_both_prices(registry):
    metrics = CostMetrics(registry)
    for _ in range(1000):
        metrics.answered(1_000_000)
    assert registry.get_sample_value("embeddings_openai_usd_total", {"price": "3-small"}) == pytest.approx(20)
    assert registry.get_sample_value("embeddings_openai_usd_total", {"price": "3-large"}) == pytest.approx(
        130
    )


def test_both_are_there_before_the_first_token(registry):
    CostMetrics(registry)
    assert registry.get_sample_value("embeddings_openai_usd_total", {"price": "3-small"}) == 0


def test_a_machine_costs_by_the_hour_from_the_start_on(registry, clock):
    count_machine(registry, CostSettings(usd_per_hour=0.5), clock)
    assert registry.get_sample_value("embeddings_machine_usd_total") == 0
    clock.now += 3 * 3600
    assert registry.get_sample_value("embeddings_machine_usd_total") == pytest.approx(1.5)
    assert b"# TYPE embeddings_machine_usd_total counter" in generate_latest(registry)


def test_a_machine_whose_price_nobody_says_is_not_shown(registry):
    count_machine(registry, CostSettings())
    assert registry.get_sample_value("embeddings_machine_usd_total") is None


def test_a_machine_may_cost_nothing(registry, clock):
    count_machine(registry, CostSettings(usd_per_hour=0.0), clock)
    clock.now += 3600
    assert registry.get_sample_value("embeddings_machine_usd_total") == 0
