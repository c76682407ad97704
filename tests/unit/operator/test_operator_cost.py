"""operator.cost: what vectors cost here, beside what they would have cost at OpenAI."""

import datetime as dt
from dataclasses import replace

import pytest

from embedsvc.config import CostSettings, ModelSettings, ProviderSettings, RemoteModelSettings, Settings
from embedsvc.operator.cost import Cost, Machines, Use, cost
from embedsvc.prices import LARGE, SMALL
from embedsvc.store.records import SHADOW, UsageRow

HERE, THERE, FREE = "all-mpnet-base-v2", "openai/text-embedding-3-small", "openai/unpriced"
NOW = dt.datetime(2026, 11, 28, 6, tzinfo=dt.UTC)
SETTINGS = Settings(
    providers={
        "openai": ProviderSettings(
            models={
                "text-embedding-3-small": RemoteModelSettings(dimensions=1536, usd_per_million=0.02),
                "unpriced": RemoteModelSettings(dimensions=1536),
            }
        )
    }
)
DOLLAR = Machines(1.0)


ROW = UsageRow("2026-11-28", "a" * 64, "", HERE, 10, 0, 100, 1_000_000, 0, 50.0, 5.0)


def used(**fields):
    return replace(ROW, **fields)


def added(*rows, machines=DOLLAR, settings=SETTINGS) -> Cost:
    return cost(rows, settings, machines, NOW)


# The machines


@pytest.mark.parametrize(
    ("days", "hours"),
    [(["2026-11-28"], 6), (["2026-11-27"], 30), (["2026-11-28", "2026-10-30"], 29 * 24 + 6)],
)
def test_machines_cost_from_the_start_of_the_first_day_of_use_on_whether_they_work_or_not(days, hours):
    found = added(*(used(day=day) for day in days))
    assert (found.since, found.hours, found.machines_usd) == (min(days), hours, hours)


def test_as_many_machines_cost_as_there_are_on_average():
    assert added(used(), machines=Machines(0.5, 2.5)).machines_usd == pytest.approx(6 * 0.5 * 2.5)


def test_days_on_which_nobody_was_answered_do_not_begin_the_count():
    assert added(used(day="2026-11-01", model="", tokens=0), used()).since == "2026-11-28"


def test_a_clock_that_is_behind_the_ledger_costs_nothing():
    assert added(used(day="2026-11-29")).hours == 0


# Tokens


def test_a_million_tokens_here_are_as_dear_as_the_machines_by_what_they_answered():
    found = added(used(tokens=3_000_000), used(tokens=9_000_000, model="e5-large-v2"))
    assert found.here.tokens == 12_000_000
    assert found.usd_per_million == pytest.approx(6 / 12)
    assert found.tokens_per_hour == 2_000_000


@pytest.mark.parametrize(
    ("tokens", "small", "large"), [(10**9, 14.0, 124.0), (10**8, -4.0, 7.0), (10**7, -5.8, -4.7)]
)
def test_what_is_saved_is_what_openai_would_have_asked_less_the_machines_and_may_be_below_nothing(
    tokens, small, large
):
    found = added(used(tokens=tokens))
    assert found.saved_usd(SMALL) == pytest.approx(small)
    assert found.saved_usd(LARGE) == pytest.approx(large)


def test_at_break_even_nothing_is_saved_and_nothing_lost():
    hourly = added(used()).break_even(SMALL)
    assert hourly == pytest.approx(50_000_000)
    assert added(used(tokens=round(hourly * 6))).saved_usd(SMALL) == pytest.approx(0, abs=1e-6)


def test_texts_of_the_cache_are_answered_here_too_and_their_share_is_told():
    found = added(used(inputs=100, cached=20), used(inputs=300, cached=80))
    assert found.here == Use(400, 2_000_000, 100)
    assert found.here.cached_share == 0.25


@pytest.mark.parametrize("rows", [[], [used(model="", tokens=0)], [used(tokens=0, inputs=0)]])
def test_where_nothing_was_answered_there_is_no_price_and_no_gain(rows):
    found = added(*rows)
    assert found.usd_per_million is None
    assert (found.here.cached_share, found.openai_usd(LARGE)) == (0.0, 0.0)
    assert found.saved_usd(SMALL) == -found.machines_usd


def test_machines_that_cost_nothing_pay_at_once():
    found = added(used(), machines=Machines(0.0))
    assert (found.break_even(SMALL), found.usd_per_million) == (0.0, 0.0)
    assert found.saved_usd(SMALL) == pytest.approx(0.02)


# Providers


def test_what_a_provider_answered_is_paid_there_and_saves_nothing():
    found = added(used(), used(model=THERE, tokens=5_000_000))
    assert found.here.tokens == 1_000_000
    assert found.providers == {THERE: Use(100, 5_000_000, 0)}
    assert found.providers_usd == pytest.approx(0.10)
    assert found.unpriced == []


def test_what_came_from_the_cache_was_not_sent_there():
    assert added(used(model=THERE, tokens=5_000_000, inputs=100, cached=40)).providers_usd == pytest.approx(
        0.06
    )


def test_a_shadow_is_paid_for_where_it_is_sent_and_saves_nothing_here():
    found = added(used(identity=SHADOW), used(model=THERE, tokens=5_000_000, identity=SHADOW))
    assert found.here == Use()
    assert found.providers_usd == pytest.approx(0.10)


def test_what_nobody_says_the_price_of_is_told():
    gone = "mistral/mistral-embed"
    found = added(used(model=FREE), used(model=gone), used(model=THERE))
    assert found.unpriced == [gone, FREE]
    assert found.providers_usd == pytest.approx(0.02)
    assert found.here.tokens == 0


def test_a_price_of_nothing_is_a_price():
    own = ProviderSettings(models={"own": RemoteModelSettings(dimensions=8, usd_per_million=0.0)})
    found = added(used(model="lab/own"), settings=Settings(providers={"lab": own}))
    assert (found.providers_usd, found.unpriced) == (0.0, [])


def test_a_model_of_these_machines_may_have_a_slash_in_its_name():
    settings = Settings(models=ModelSettings(primary="org/model"), cost=CostSettings(usd_per_hour=1.0))
    assert added(used(model="org/model"), settings=settings).here.tokens == 1_000_000
