"""operator.usage: what was used, added up as an operator asks."""

from dataclasses import replace
from itertools import combinations, permutations

import pytest

from embedsvc.operator.usage import GROUPS, columns, report
from embedsvc.store.records import SHADOW, KeyRecord, UsageRow

ALICE = KeyRecord("a" * 64, "emb_aaaaaaaa", "alice", owner="Search")
BOB = KeyRecord("b" * 64, "emb_bbbbbbbb", "bob")
IMPORTED = KeyRecord("c" * 64, "emb_", "alice", owner="Search")
KEYS = {key.digest: key for key in (ALICE, BOB, IMPORTED)}
UNKNOWN = "d" * 64

ROW = UsageRow("2026-11-24", ALICE.digest, "envoy", "model-a", 10, 1, 20, 1_000_000, 5, 100.0, 50.0)
ROWS = [
    ROW,
    replace(ROW, day="2026-11-25", requests=30, errors=0, latency_ms=100.0, slowest_ms=4.0),
    replace(ROW, model="model-b", tokens=500_000),
    replace(ROW, key=BOB.digest),
    replace(ROW, key=IMPORTED.digest),
    replace(ROW, key=UNKNOWN),
    replace(ROW, key="", identity="batch"),
    replace(ROW, model="", identity=""),
]
WHO = {
    "day": {"2026-11-24", "2026-11-25"},
    "key": {"alice (emb_aaaaaaaa)", "bob (emb_bbbbbbbb)", f"alice ({'c' * 16})", "d" * 16, "-"},
    "owner": {"Search", "-"},
    "identity": {"envoy", "batch", "-"},
    "model": {"model-a", "model-b", "-"},
}


def is_here(model):
    return "/" not in model


def as_dicts(rows, by):
    names = [column.name for column in columns(by)]
    return [dict(zip(names, row, strict=True)) for row in report(rows, KEYS, by, is_here)]


SUBSETS = [by for count in range(len(GROUPS) + 1) for by in combinations(GROUPS, count)]


@pytest.mark.parametrize("by", SUBSETS, ids=",".join)
def test_whatever_is_kept_apart_all_of_it_is_there_once(by):
    found = as_dicts(ROWS, by)
    for name, field in [("requests", "requests"), ("texts", "inputs"), ("tokens", "tokens")]:
        assert sum(row[name] for row in found) == sum(getattr(row, field) for row in ROWS)
    groups = [tuple(row[group] for group in by) for row in found]
    assert groups == sorted(set(groups))
    for at, group in enumerate(by):
        assert {group_of[at] for group_of in groups} == WHO[group]


@pytest.mark.parametrize("by", list(permutations(("key", "model", "day"))), ids=",".join)
def test_groups_are_in_the_order_in_which_they_were_asked_for(by):
    found = report(ROWS, KEYS, by, is_here)
    assert [column.name for column in columns(by)][:3] == list(by)
    assert [row[:3] for row in found] == sorted(row[:3] for row in found)


def test_a_row_has_sums_a_mean_over_requests_and_the_slowest():
    (row,) = as_dicts(ROWS[:2], ["key"])
    assert row == {
        "key": "alice (emb_aaaaaaaa)",
        "requests": 40,
        "errors": 1,
        "texts": 40,
        "tokens": 2_000_000,
        "cached": 10,
        "mean_ms": 5.0,
        "slowest_ms": 50.0,
        "saved_small_usd": 0.04,
        "saved_large_usd": 0.26,
    }


def test_savings_are_what_openai_asks_for_as_many_tokens():
    (row,) = as_dicts([replace(ROW, tokens=1_000_000)], [])
    assert (row["saved_small_usd"], row["saved_large_usd"]) == (0.02, 0.13)


@pytest.mark.parametrize(
    ("tokens", "small", "large"),
    [(0, 0.0, 0.0), (8, 0.0, 0.000001), (30, 0.000001, 0.000004), (123_456_789, 2.469136, 16.049383)],
)
def test_amounts_are_rounded_to_a_millionth_of_a_dollar(tokens, small, large):
    (row,) = as_dicts([replace(ROW, tokens=tokens)], [])
    assert (row["saved_small_usd"], row["saved_large_usd"]) == (small, large)


def test_times_are_rounded_to_a_microsecond():
    (row,) = as_dicts([replace(ROW, requests=3, latency_ms=10.0, slowest_ms=3.33333333)], [])
    assert (row["mean_ms"], row["slowest_ms"]) == (3.333, 3.333)


def test_without_requests_there_is_no_mean():
    (row,) = as_dicts([replace(ROW, requests=0, latency_ms=0.0, slowest_ms=0.0)], [])
    assert (row["mean_ms"], row["slowest_ms"]) == (0.0, 0.0)


def test_nothing_used_is_no_row():
    assert report([], KEYS, ["key"], is_here) == []


def test_a_key_that_nobody_knows_is_shown_by_the_start_of_its_digest_and_has_no_owner():
    (row,) = as_dicts([replace(ROW, key=UNKNOWN)], ["key", "owner"])
    assert (row["key"], row["owner"]) == ("d" * 16, "-")


def test_two_keys_of_one_name_are_kept_apart():
    rows = [replace(ROW, key=ALICE.digest), replace(ROW, key=IMPORTED.digest)]
    assert len(report(rows, KEYS, ["key"], is_here)) == 2
    assert len(report(rows, KEYS, ["owner"], is_here)) == 1


@pytest.mark.parametrize("fields", [{"model": "openai/text-embedding-3-small"}, {"identity": SHADOW}])
def test_what_a_provider_answered_or_nobody_got_is_used_and_saves_nothing(fields):
    rows = [ROW, replace(ROW, tokens=9_000_000, **fields)]
    (found,) = as_dicts(rows, ["day"])
    assert (found["tokens"], found["saved_small_usd"], found["saved_large_usd"]) == (10_000_000, 0.02, 0.13)
