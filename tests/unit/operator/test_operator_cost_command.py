"""`embedsvc cost`: a price for a million tokens here, beside OpenAI's two."""

import csv
import datetime as dt
import io
import time

import pytest
from shell import DAY

from embedsvc.store.records import RequestRow


@pytest.fixture
def used(shell):
    """Writes down texts of some model, some days ago."""
    numbers = iter(range(1000))

    def write(tokens=1_000_000, model="all-mpnet-base-v2", days=0, cached=0):
        row = RequestRow(
            "r", "", "envoy", "Embed", model, 1, 4, tokens, cached, 12.5, "OK", time.time() - days * DAY
        )
        shell.ask(lambda store: store.log_requests(f"batch-{next(numbers)}", [row]))

    return write


def told(shell, *arguments):
    (row,) = shell("cost", "--format=json", *arguments).json
    return row


def test_a_report_has_all_that_the_price_is_made_of(shell, used):
    used(tokens=300_000_000, days=2, cached=1)
    used(tokens=100_000_000)
    before = dt.datetime.now(dt.UTC)
    row = told(shell, "--usd-per-hour=0.5", "--machines=2")
    first = (before - dt.timedelta(days=2)).date()
    hours = (before - dt.datetime.combine(first, dt.time(), dt.UTC)).total_seconds() / 3600
    assert row["since"] == first.isoformat()
    assert row["hours"] == pytest.approx(hours, abs=0.1)
    assert row["machines_usd"] == pytest.approx(hours, abs=0.1)
    assert (row["machines"], row["usd_per_hour"]) == (2.0, 0.5)
    assert (row["texts"], row["cached_percent"], row["tokens"]) == (8, 12.5, 400_000_000)
    assert row["usd_per_million"] == pytest.approx(hours / 400, abs=0.001)
    assert (row["openai_small_usd_per_million"], row["openai_large_usd_per_million"]) == (0.02, 0.13)
    assert (row["openai_small_usd"], row["openai_large_usd"]) == (8.0, 52.0)
    assert row["saved_small_usd"] == pytest.approx(8 - hours, abs=0.1)
    assert row["saved_large_usd"] == pytest.approx(52 - hours, abs=0.1)
    assert (row["break_even_small"], row["break_even_large"]) == (50_000_000, 7_692_308)
    assert row["tokens_per_hour"] == pytest.approx(400_000_000 / hours, rel=0.01)
    assert row["providers_usd"] == 0


def test_only_the_days_that_are_asked_for_count(shell, used):
    used(days=3)
    used()
    assert told(shell, "--usd-per-hour=1", "--days=3")["tokens"] == 1_000_000
    assert told(shell, "--usd-per-hour=1", "--days=4")["tokens"] == 2_000_000


def test_the_price_of_an_hour_is_the_configurations_where_none_is_said(shell, used):
    shell.config.write_text(shell.config.read_text() + "cost.usd_per_hour = 2.5\n")
    used()
    assert told(shell)["usd_per_hour"] == 2.5
    assert told(shell, "--usd-per-hour=0")["usd_per_hour"] == 0.0


def test_without_a_price_of_an_hour_there_is_nothing_to_tell(shell):
    ran = shell("cost", status=2)
    assert ran.err == (
        "embedsvc: cost: say what a machine costs an hour, with --usd-per-hour or as cost.usd_per_hour\n"
    )


def test_people_read_it_downwards_with_small_prices_unrounded(shell, used):
    used(tokens=10**12)
    lines = [line.strip() for line in shell("cost", "--usd-per-hour=10").out.splitlines() if line.strip()]
    assert any(line.startswith("$ of a million tokens here") for line in lines)
    (price,) = (line.split()[-1] for line in lines if "OpenAI's 3-small" in line)
    assert price == "0.0200"
    (tokens,) = (line.split()[-1] for line in lines if line.startswith("tokens answered here"))
    assert tokens == "1,000,000,000,000"


def test_a_spreadsheet_can_read_it(shell, used):
    used()
    (row,) = csv.DictReader(io.StringIO(shell("cost", "--usd-per-hour=1", "--format=csv").out))
    assert row["tokens"] == "1000000"


def test_without_any_use_there_is_no_price_and_that_is_said(shell):
    ran = shell("cost", "--usd-per-hour=1", "--format=json")
    (row,) = ran.json
    assert (row["since"], row["usd_per_million"], row["tokens"], row["saved_large_usd"]) == (None, None, 0, 0)
    assert ran.err == "nothing was answered here: the machines saved nothing\n"
    lines = [line.split() for line in shell("cost", "--usd-per-hour=1").out.splitlines()]
    assert next(line[-1] for line in lines if line[:2] == ["used", "since"]) == "-"


@pytest.mark.parametrize(
    ("tokens", "note"),
    [
        (1, "the machines cost more than OpenAI would have asked at either price\n"),
        (10**10, "the machines cost less than OpenAI's 3-large would have, and more than its 3-small\n"),
        (10**13, ""),
    ],
)
def test_that_machines_cost_more_than_they_save_is_said(shell, used, tokens, note):
    used(tokens=tokens, days=1)  # 24 to 48 hours ago: 240 to 480 dollars
    assert shell("cost", "--usd-per-hour=10", "--format=json").err == note


def test_what_providers_asked_is_apart_and_what_has_no_price_is_named(shell, used):
    shell.config.write_text(
        shell.config.read_text()
        + '[providers.openai.models."text-embedding-3-large"]\ndimensions = 3072\nusd_per_million = 0.13\n'
    )
    used(model="openai/text-embedding-3-large", tokens=2_000_000)
    used(model="gone/model")
    ran = shell("cost", "--usd-per-hour=0", "--format=json")
    assert (ran.json[0]["providers_usd"], ran.json[0]["tokens"]) == (0.26, 0)
    assert "gone/model: nobody says what it costs (usd_per_million): it is counted as nothing\n" in ran.err


@pytest.mark.parametrize(
    "option", ["--usd-per-hour=-1", "--usd-per-hour=nan", "--machines=0", "--machines=x", "--days=0"]
)
def test_a_value_that_cannot_be_is_named(shell, capsys, option):
    with pytest.raises(SystemExit) as ended:
        shell("cost", option)
    assert ended.value.code == 2
    assert f"argument {option.split('=')[0]}: must be a number from" in capsys.readouterr().err
