"""`embedsvc migrate`: what aliases stand for, and how that is changed while servers run."""

import csv
import io
import sqlite3
import time
from contextlib import closing

import pytest

from embedsvc.engine.catalog import OPENAI_NAMES
from embedsvc.operator.shown import moment
from embedsvc.store.records import RouteRecord

ALIAS, HERE, THERE = "text-embedding-3-small", "all-mpnet-base-v2", "openai/text-embedding-3-small"
PROVIDER = """
[providers.openai.models."text-embedding-3-small"]
dimensions = 1536
"""
CONFIGURED = f"""
[routes."{ALIAS}"]
model = "{HERE}"
other = "{THERE}"
share = 10
"""


@pytest.fixture
def shell(shell):
    """Where OpenAI's is a model, too."""
    shell.config.write_text(shell.config.read_text() + PROVIDER)
    return shell


@pytest.fixture
def configured(shell):
    shell.config.write_text(shell.config.read_text() + CONFIGURED)
    return shell


def stored(shell):
    return shell.ask(lambda store: store.list_routes())


def keep(shell, *records):
    for record in records:
        shell.ask(lambda store, record=record: store.set_route(record))


def status(shell):
    return {row["alias"]: row for row in shell("migrate", "status", "--format=json").json}


# status


def test_openais_names_stand_for_the_primary_model_where_nobody_says_otherwise(shell):
    found = status(shell)
    assert list(found) == sorted(OPENAI_NAMES)
    assert found[ALIAS] == {
        "alias": ALIAS,
        "model": HERE,
        "other": None,
        "share": 100.0,
        "sticky": "key",
        "shadow": 0.0,
        "fallback": "no",
        "said_by": "model",
        "changed": None,
    }


def test_what_the_configuration_says_is_shown_and_what_the_store_says_in_its_place(configured):
    row = status(configured)[ALIAS]
    assert (row["other"], row["share"], row["said_by"]) == (THERE, 10.0, "configuration")
    keep(configured, RouteRecord(ALIAS, HERE, THERE, 50.0, "index", 2.5, fallback=True, changed_at=1.8e9))
    assert status(configured)[ALIAS] == {
        "alias": ALIAS,
        "model": HERE,
        "other": THERE,
        "share": 50.0,
        "sticky": "index",
        "shadow": 2.5,
        "fallback": "yes",
        "said_by": "store",
        "changed": moment(1.8e9),
    }


def test_people_and_spreadsheets_can_read_it(configured):
    (row,) = [
        row
        for row in csv.DictReader(io.StringIO(configured("migrate", "status", "--format=csv").out))
        if row["alias"] == ALIAS
    ]
    assert (row["model"], row["share"]) == (HERE, "10.0")
    assert all(word in configured("migrate", "status").out for word in ("share %", "said by", ALIAS, THERE))


def test_what_cannot_count_is_told_of_beside_what_does(configured):
    keep(configured, RouteRecord(ALIAS, "gone", changed_at=1.8e9))
    assert status(configured)[ALIAS]["said_by"] == "configuration"
    told = configured("migrate", "status").err
    assert told.startswith(f"{ALIAS}: what `migrate set` said of it does not count: 'gone' is not served; ")


def test_what_cannot_be_read_is_told_of_and_can_be_forgotten(shell):
    keep(shell, RouteRecord("search", HERE))
    with closing(sqlite3.connect(shell.store, isolation_level=None)) as db:
        db.execute("INSERT INTO routes VALUES (?, '{}')", (ALIAS,))
    assert [status(shell)[name]["said_by"] for name in (ALIAS, "search")] == ["model", "store"]
    told = f"{ALIAS}: what `migrate set` said of it does not count: it cannot be read: "
    assert shell("migrate", "status").err.startswith(told)
    shell("migrate", "reset", ALIAS)
    assert shell("migrate", "status").err == ""


# set


def test_a_cut_over_goes_step_by_step(shell):
    ran = shell("migrate", "set", ALIAS, f"--model={HERE}", f"--other={THERE}", "--share=10")
    assert ran.out.splitlines() == [
        f"{ALIAS}: other side none → {THERE}",
        f"{ALIAS}: 100 % → 10 % of callers to {HERE}",
    ]
    ran = shell("migrate", "set", ALIAS, "--share", "50")
    assert ran.out == f"{ALIAS}: 10 % → 50 % of callers to {HERE}\n"
    assert f"40 % of callers move from {THERE} to {HERE}: their indexes must hold" in ran.err
    assert ran.err.splitlines()[-1] == (
        f"servers that use the file {shell.store} take it up within 2 seconds"
    )
    shell("migrate", "set", ALIAS, "--share=100", "--fallback", "--shadow=2.5", "--sticky=index")
    (kept,) = stored(shell)
    assert abs(kept.changed_at - time.time()) < 60
    assert (kept.model, kept.other, kept.share, kept.sticky, kept.shadow, kept.fallback) == (
        HERE,
        THERE,
        100.0,
        "index",
        2.5,
        True,
    )


def test_it_begins_with_what_the_configuration_says(configured):
    assert configured("migrate", "set", ALIAS, "--shadow=1").out == (
        f"{ALIAS}: 0 % → 1 % of requests also to the other side\n"
    )
    (kept,) = stored(configured)
    assert (kept.other, kept.share) == (THERE, 10.0)


def test_it_begins_with_what_counts_where_the_store_says_what_cannot_be(configured):
    keep(configured, RouteRecord(ALIAS, "gone", changed_at=1.8e9))
    assert configured("migrate", "set", ALIAS, "--share=20").out == (
        f"{ALIAS}: 10 % → 20 % of callers to {HERE}\n"
    )


def test_a_name_may_be_new_and_moves_nobody(shell):
    ran = shell("migrate", "set", "search", f"--model={HERE}", f"--other={THERE}", "--share=10", "--fallback")
    assert ran.out.splitlines()[0] == f"search: model none → {HERE}"
    assert "move" not in ran.err
    assert "vectors of another space" in ran.err
    assert status(shell)["search"]["share"] == 10.0


def test_the_other_side_can_be_taken_away_with_all_that_needs_it(configured):
    configured("migrate", "set", ALIAS, "--fallback", "--shadow=5")
    ran = configured("migrate", "set", ALIAS, "--no-other")
    assert f"{ALIAS}: other side {THERE} → none" in ran.out
    (kept,) = stored(configured)
    assert (kept.other, kept.share, kept.shadow, kept.fallback) == ("", 100.0, 0.0, False)


def test_fallback_can_be_taken_back(configured):
    configured("migrate", "set", ALIAS, "--fallback")
    assert configured("migrate", "set", ALIAS, "--no-fallback").out == f"{ALIAS}: fallback yes → no\n"
    assert stored(configured)[0].fallback is False


def test_what_is_so_already_changes_nothing(configured):
    assert configured("migrate", "set", ALIAS, "--share=10").out == f"{ALIAS}: nothing changes\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([ALIAS], "migrate set: say what is to change, such as --share 50"),
        (
            [ALIAS, "--model=mpnet"],
            f"{ALIAS}: 'mpnet' is not served; models are named by their own names: {HERE}",
        ),
        ([ALIAS, f"--other={HERE}"], f"{ALIAS}: other must be another model than model"),
        (
            [ALIAS, "--share=10"],
            f"{ALIAS}: share, shadow and fallback need other, the model of the other side",
        ),
        ([ALIAS, "--no-other", "--shadow=1"], f"{ALIAS}: share, shadow and fallback need other"),
        (["search", "--share=10"], "search stands for no model yet: say which with --model"),
        ([HERE, f"--model={THERE}"], f"{HERE}: '{HERE}' must be a name that no model has"),
        (["a b", f"--model={THERE}"], "a b: 'a b' must be a name that no model has"),
    ],
)
def test_what_cannot_be_is_a_line_and_status_2_and_is_not_kept(shell, arguments, reason):
    ran = shell("migrate", "set", *arguments, status=2)
    assert ran.err.startswith(f"embedsvc: {reason}")
    assert (ran.out, ran.err.count("\n"), stored(shell)) == ("", 1, [])


@pytest.mark.parametrize(
    "option",
    ["--share=101", "--share=-1", "--share=x", "--shadow=nan", "--sticky=day", "--other=a --no-other"],
)
def test_a_value_that_cannot_be_is_named(shell, capsys, option):
    with pytest.raises(SystemExit) as ended:
        shell("migrate", "set", ALIAS, *option.split())
    assert ended.value.code == 2
    assert f"argument {option.split()[-1].split('=')[0]}: " in capsys.readouterr().err
    assert stored(shell) == []


# reset


def test_what_was_said_can_be_forgotten_and_the_configuration_counts_again(configured):
    configured("migrate", "set", ALIAS, "--share=50")
    ran = configured("migrate", "reset", ALIAS)
    assert ran.out.splitlines() == [
        f"{ALIAS}: as the configuration says",
        f"{ALIAS}: 50 % → 10 % of callers to {HERE}",
    ]
    assert f"40 % of callers move from {HERE} to {THERE}: " in ran.err
    assert stored(configured) == []


def test_a_name_that_was_only_said_is_none_any_more(shell):
    shell("migrate", "set", "search", f"--model={THERE}")
    assert shell("migrate", "reset", "search").out == "search: stands for no model any more\n"
    assert "search" not in status(shell)


def test_what_cannot_count_can_be_forgotten_too(shell):
    keep(shell, RouteRecord(ALIAS, "gone"), RouteRecord("search", "gone"))
    assert shell("migrate", "reset", ALIAS).out.startswith(f"{ALIAS}: as the model says\n")
    assert shell("migrate", "reset", "search").out == "search: stands for no model any more\n"
    assert stored(shell) == []


@pytest.mark.parametrize("alias", [ALIAS, "search"])
def test_where_nothing_was_said_there_is_nothing_to_forget(configured, alias):
    ran = configured("migrate", "reset", alias, status=2)
    assert ran.err == f"embedsvc: {alias}: `migrate set` has said nothing of it\n"


@pytest.mark.parametrize("arguments", [[], ["set"], ["reset"], ["status", ALIAS]])
def test_what_is_missing_or_too_much_is_told(shell, arguments):
    with pytest.raises(SystemExit) as ended:
        shell("migrate", *arguments)
    assert ended.value.code == 2
