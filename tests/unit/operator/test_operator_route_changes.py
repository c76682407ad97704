"""operator.route_changes: what a change of a route means, told before anybody's index mixes two spaces."""

from dataclasses import replace

import pytest

from embedsvc.operator.route_changes import differences, warnings
from embedsvc.routing.route import Route

ALIAS, HERE, THERE = "text-embedding-3-small", "all-mpnet-base-v2", "openai/text-embedding-3-small"
ROUTE = Route(ALIAS, HERE, THERE, share=10.0)
INDEXES = "their indexes must hold vectors of the model that answers, and of no other"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"share": 50.0}, f"10 % → 50 % of callers to {HERE}"),
        ({"share": 12.25}, f"10 % → 12.25 % of callers to {HERE}"),
        ({"model": "e5-large-v2"}, f"model {HERE} → e5-large-v2"),
        ({"other": ""}, f"other side {THERE} → none"),
        ({"sticky": "index"}, "sticky by key → by index"),
        ({"shadow": 5.0}, "0 % → 5 % of requests also to the other side"),
        ({"fallback": True}, "fallback no → yes"),
    ],
)
def test_what_is_otherwise_is_a_line(fields, line):
    assert differences(ROUTE, replace(ROUTE, **fields)) == [f"{ALIAS}: {line}"]


def test_what_is_as_it_was_is_none():
    assert differences(ROUTE, ROUTE) == []
    assert list(warnings(ROUTE, ROUTE)) == []


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        (ROUTE, replace(ROUTE, share=50.0), f"40 % of callers move from {THERE} to {HERE}"),
        (ROUTE, replace(ROUTE, share=0.0), f"10 % of callers move from {HERE} to {THERE}"),
        (ROUTE, replace(ROUTE, share=100.0), f"90 % of callers move from {THERE} to {HERE}"),
        (ROUTE, Route(ALIAS, HERE), f"callers of {ALIAS} move to another model"),
        (Route(ALIAS, HERE), ROUTE, f"callers of {ALIAS} move to another model"),
        (ROUTE, replace(ROUTE, model="e5-large-v2"), f"callers of {ALIAS} move to another model"),
        (ROUTE, replace(ROUTE, sticky="index"), f"callers of {ALIAS} move to another model"),
    ],
)
def test_callers_that_move_need_indexes_of_the_model_that_answers(old, new, moved):
    assert list(warnings(old, new)) == [f"{moved}: {INDEXES}"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Route(ALIAS, HERE), Route(ALIAS, HERE, THERE, shadow=5.0)),
        (Route(ALIAS, HERE, THERE), Route(ALIAS, HERE)),
        (Route(ALIAS, THERE), Route(ALIAS, HERE, THERE, share=0.0)),
        (Route(ALIAS, HERE, THERE), Route(ALIAS, HERE, THERE, sticky="index")),
        (ROUTE, replace(ROUTE, shadow=50.0)),
    ],
)
def test_where_nobody_moves_there_is_nothing_to_see_to(old, new):
    assert list(warnings(old, new)) == []


def test_a_consent_to_another_space_is_told_when_it_is_given_and_not_when_it_is_taken_back():
    with_consent = replace(ROUTE, fallback=True)
    (told,) = warnings(ROUTE, with_consent)
    assert "vectors of another space" in told
    assert list(warnings(with_consent, ROUTE)) == []
