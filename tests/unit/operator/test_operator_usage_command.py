"""`embedsvc usage`: a report of the last days, and of who failed to come in."""

import csv
import datetime as dt
import io
import time

import pytest
from shell import DAY

from embedsvc.operator.shown import moment
from embedsvc.store.records import FailureRow, RequestRow

GROUPS = "day, key, owner, identity, model"


@pytest.fixture
def used(shell):
    """Writes down a request of some key, some days ago."""
    numbers = iter(range(1000))

    def write(key="", days=0, model="model-a", tokens=500_000, outcome="OK"):
        at = time.time() - days * DAY
        row = RequestRow("r", key, "envoy", "Embed", model, 1, 2, tokens, 0, 12.5, outcome, at)
        shell.ask(lambda store: store.log_requests(f"batch-{next(numbers)}", [row]))

    return write


def day(days=0):
    return (dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days)).isoformat()


def test_what_was_used_is_shown_by_key_model_and_day(shell, used):
    _, alice = shell.add("alice")
    used(alice.digest)
    used(alice.digest, outcome="RESOURCE_EXHAUSTED", tokens=0)
    used(alice.digest, days=1, model="model-b")
    used()
    name = f"alice ({alice.prefix})"
    found = shell("usage", "--format=json").json
    assert [(row["key"], row["model"], row["day"], row["requests"], row["errors"]) for row in found] == [
        ("-", "model-a", day(), 1, 0),
        (name, "model-a", day(), 2, 1),
        (name, "model-b", day(1), 1, 0),
    ]
    assert found[1] == {
        "key": name,
        "model": "model-a",
        "day": day(),
        "requests": 2,
        "errors": 1,
        "texts": 4,
        "tokens": 500_000,
        "cached": 0,
        "mean_ms": 12.5,
        "slowest_ms": 12.5,
        "saved_small_usd": 0.01,
        "saved_large_usd": 0.065,
    }


def test_a_spreadsheet_can_read_it(shell, used):
    used(tokens=8)
    ran = shell("usage", "--by=model,day", "--format=csv")
    assert ran.out == (
        "model,day,requests,errors,texts,tokens,cached,mean_ms,slowest_ms,saved_small_usd,saved_large_usd\n"
        f"model-a,{day()},1,0,2,8,0,12.5,12.5,0.0,1e-06\n"
    )
    (row,) = csv.DictReader(io.StringIO(ran.out))
    assert float(row["saved_large_usd"]) == 0.000001


def test_people_can_read_it(shell, used):
    used(tokens=12_345_678)
    title, _, row = [line for line in shell("usage", "--by=model").out.splitlines() if line.strip()]
    assert title.split("  ")[0].strip() == "model"
    assert all(word in title for word in ("requests", "saved $ (3-small)", "saved $ (3-large)"))
    assert row.split() == ["model-a", "1", "0", "2", "12,345,678", "0", "12.50", "12.50", "0.25", "1.60"]


def test_a_key_that_was_never_there_is_shown_by_its_digest(shell, used):
    used("f" * 64)
    assert shell("usage", "--by=key", "--format=json").json[0]["key"] == "f" * 16


@pytest.mark.parametrize(("days", "requests"), [(1, 1), (2, 2), (7, 3), (30, 4)])
def test_a_report_is_of_the_last_days_today_counted_in(shell, used, days, requests):
    for age in (0, 1, 6, 29):
        used(days=age)
    (row,) = shell("usage", f"--days={days}", "--by=identity", "--format=json").json
    assert row["requests"] == requests


def test_without_any_use_a_report_is_empty(shell):
    assert shell("usage", "--format=json").json == []
    assert shell("usage", "--by=day", "--format=csv").out.count("\n") == 1
    assert "requests" in shell("usage").out


@pytest.mark.parametrize("by", ["day", "key,day", " model , owner", "day,key,owner,identity,model"])
def test_it_is_grouped_by_whatever_is_asked_for(shell, used, by):
    used()
    names = [name.strip() for name in by.split(",")]
    assert list(shell("usage", f"--by={by}", "--format=json").json[0])[: len(names)] == names


@pytest.mark.parametrize("by", ["", "colour", "day,", "day,day", "day;key"])
def test_a_group_that_is_none_or_is_there_twice_is_told(shell, capsys, by):
    with pytest.raises(SystemExit) as ended:
        shell("usage", f"--by={by}")
    assert ended.value.code == 2
    assert f"argument --by: must be some of {GROUPS}" in capsys.readouterr().err


@pytest.mark.parametrize("days", ["0", "-1", "36501", "1e3", "x"])
def test_days_that_cannot_be_are_told(shell, capsys, days):
    with pytest.raises(SystemExit):
        shell("usage", f"--days={days}")
    assert "argument --days: must be a number from 1 to 36,500" in capsys.readouterr().err


def test_failures_are_shown_the_latest_first(shell):
    now = time.time()
    rows = [
        FailureRow("emb_guess123", "unknown_key", "192.0.2.1", 1234, now - 7200, now - 3600),
        FailureRow("", "no_key", "", 1, now - 60, now - 60),
        FailureRow("", "no_key", "192.0.2.2", 1, now - 9 * DAY, now - 8 * DAY),
    ]
    shell.ask(lambda store: store.log_failures("batch", rows))
    found = shell("usage", "--failures", "--days=7", "--format=json").json
    assert found == [
        {
            "last": moment(now - 60),
            "key_prefix": "",
            "reason": "no_key",
            "address": "",
            "count": 1,
            "first": moment(now - 60),
        },
        {
            "last": moment(now - 3600),
            "key_prefix": "emb_guess123",
            "reason": "unknown_key",
            "address": "192.0.2.1",
            "count": 1234,
            "first": moment(now - 7200),
        },
    ]
    assert "1,234" in shell("usage", "--failures").out
    assert len(shell("usage", "--failures", "--format=json").json) == 3
