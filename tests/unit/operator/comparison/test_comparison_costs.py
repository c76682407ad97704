"""What each side costs, as the configuration says."""

import numpy as np
import pytest

from embedsvc.config import Settings
from embedsvc.operator.comparison.agreement import Space
from embedsvc.operator.comparison.costs import Price, price
from embedsvc.operator.comparison.measuring import Side

REMOTE = {"dimensions": 4, "usd_per_million": 0.02}


def side(model, tokens=50_000, seconds=10.0, documents=100):
    space = Space(np.zeros((1, 4), np.float32), np.zeros((documents, 4), np.float32))
    return Side(model, space, tokens, seconds, [0.1])


def settings(**values):
    return Settings(models={"primary": "model-a", "fallback": ""}, **values)


def provider(**model):
    return settings(providers={"far": {"models": {"b/c": {"dimensions": 4, **model}}}})


def test_a_provider_has_a_price_for_tokens():
    found = price(provider(usd_per_million=0.02), side("far/b/c"))
    assert found == Price(0.02, pytest.approx(0.02 * 500))


def test_what_costs_nothing_costs_nothing():
    assert price(provider(usd_per_million=0), side("far/b/c")) == Price(0, 0)


def test_a_machine_has_a_price_for_its_hours():
    found = price(settings(cost={"usd_per_hour": 1.8}), side("model-a"))
    assert found.million_tokens == pytest.approx(1.8 / 3600 * 10 / 0.05)  # 5,000 tokens/s
    assert found.million_documents == pytest.approx(found.million_tokens * 500)


@pytest.mark.parametrize(
    ("configured", "model"),
    [
        (settings(), "model-a"),
        (provider(), "far/b/c"),
        (provider(usd_per_million=1), "far/other"),
        (settings(), "x/y"),
    ],
    ids=["a machine", "a provider", "another model", "another provider"],
)
def test_what_nobody_has_priced_has_no_price(configured, model):
    assert price(configured, side(model)) == Price(None, None)


def test_where_no_token_was_counted_there_is_no_pace():
    assert price(settings(cost={"usd_per_hour": 1}), side("model-a", tokens=0)) == Price(None, None)
