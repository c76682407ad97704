"""providers.remote: what was answered is paid for, by the price that the settings give."""

import pytest
from remote import embed, tokens_of

from embedsvc.errors import EmbedsvcError

TEXTS = ["hello", "a longer text of some words"]
PRICED = {
    "cheap": {"dimensions": 8, "usd_per_million": 20_000.0},
    "dear": {"dimensions": 8, "usd_per_million": 130_000.0},
}


def paid(providers):
    return providers.registry.get_sample_value("embeddings_provider_usd_total", {"provider": "openai"}) or 0.0


async def test_what_is_answered_is_paid_for_by_the_million_tokens(providers):
    model = await providers.open(PRICED)
    tokens = sum(len(one.ids) for one in tokens_of(model, TEXTS))
    for calls in (1, 2):
        await embed(model, *TEXTS)
        assert paid(providers) == pytest.approx(calls * tokens * 0.02)


async def test_each_model_has_its_price(providers):
    model = await providers.open(dict(reversed(PRICED.items())))
    await embed(model, "hello")
    assert paid(providers) == pytest.approx(len(tokens_of(model, ["hello"])[0].ids) * 0.13)


async def test_what_is_not_answered_costs_nothing(providers, openai):
    openai.behave("status", status=500)
    model = await providers.open(PRICED)
    with pytest.raises(EmbedsvcError):
        await embed(model, *TEXTS)
    assert paid(providers) == 0


async def test_a_model_without_a_price_costs_nothing(providers):
    await embed(await providers.open({"own": {"dimensions": 8}}), *TEXTS)
    assert paid(providers) == 0
