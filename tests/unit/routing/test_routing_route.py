"""routing.route: who answers whom is the same everywhere and always, and a share grows by callers alone."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedsvc.config import RouteSettings
from embedsvc.routing.route import Route, check, from_record, from_settings, is_shadowed, side_of
from embedsvc.store.records import RouteRecord

ALIAS = "text-embedding-3-small"
HERE, THERE = "all-mpnet-base-v2", "openai/text-embedding-3-small"
KNOWN = [HERE, "all-MiniLM-L6-v2", THERE]
CALLERS = 10_000

names = st.text(max_size=64)
shares = st.floats(0, 100)


def route(share=50.0, alias=ALIAS, **fields):
    return Route(alias, HERE, THERE, share, **fields)


def answers(a_route, caller, index=""):
    return side_of(a_route, caller, index)[0]


# Sides


@given(names, names, names, shares)
def test_the_two_sides_are_the_two_models(alias, caller, index, share):
    assert set(side_of(route(share, alias), caller, index)) == {HERE, THERE}


@given(names, names, shares, shares)
def test_a_share_that_grows_moves_callers_to_the_model_and_none_away_from_it(alias, caller, one, another):
    less, more = sorted((one, another))
    if answers(route(less, alias), caller) == HERE:
        assert answers(route(more, alias), caller) == HERE


@given(names, names)
def test_all_and_none_are_just_that(alias, caller):
    assert answers(route(100.0, alias), caller) == HERE
    assert answers(route(0.0, alias), caller) == THERE


@given(st.text(min_size=1, max_size=16), shares)
def test_a_share_is_that_of_the_callers_give_or_take_what_chance_does(prefix, share):
    here = sum(answers(route(share), f"{prefix}{number}") == HERE for number in range(CALLERS))
    six_deviations = 6 * (CALLERS * 0.5 * 0.5) ** 0.5
    assert abs(here - CALLERS * share / 100) <= six_deviations


def test_other_callers_are_moved_first_under_another_alias():
    first = {
        alias: {caller for caller in map(str, range(1000)) if answers(route(10.0, alias), caller) == HERE}
        for alias in ("a", "b")
    }
    assert len(first["a"] & first["b"]) < 50


SIDES = """
import json, sys
from embedsvc.routing.route import Route, side_of
route = Route(*json.loads(sys.argv[1]))
print(json.dumps([side_of(route, str(number), "")[0] for number in range(200)]))
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_every_process_says_the_same(seed):
    there = subprocess.run(
        [sys.executable, "-c", SIDES, json.dumps([ALIAS, HERE, THERE, 50.0])],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(there.stdout) == [answers(route(), str(number)) for number in range(200)]


def test_no_release_may_move_a_caller():
    callers = ("search-team", "support-bot", "development", "batch", "ü", "")
    shares_at_which_they_move = [
        next(share for share in range(101) if answers(route(share), caller) == HERE) for caller in callers
    ]
    assert shares_at_which_they_move == [23, 14, 34, 72, 99, 90]


# What keeps a caller on its side


@given(names, names, st.text(min_size=1, max_size=64))
def test_by_key_it_is_the_keys_name_alone(caller, one, another):
    by_key = route(sticky="key")
    assert side_of(by_key, caller, one) == side_of(by_key, caller, another) == side_of(by_key, caller, "")


@given(names, names, st.text(min_size=1, max_size=64))
def test_by_index_it_is_the_index_alone_whoever_asks(one, another, index):
    by_index = route(sticky="index")
    assert side_of(by_index, one, index) == side_of(by_index, another, index)


@given(names)
def test_by_index_a_caller_that_names_none_is_where_its_key_is(caller):
    assert side_of(route(sticky="index"), caller, "") == side_of(route(sticky="key"), caller, "")


@given(names, names, st.sampled_from(["key", "index"]))
def test_a_route_of_one_side_has_that_one(caller, index, sticky):
    assert side_of(Route(ALIAS, HERE, sticky=sticky), caller, index) == (HERE, "")


# Shadows


@given(st.floats(0, 100), st.floats(0, 1, exclude_max=True))
def test_a_request_is_shadowed_by_chance(shadow, random):
    assert is_shadowed(route(shadow=shadow), random) == (random * 100 < shadow)


@given(st.floats(0, 1, exclude_max=True))
def test_all_are_shadowed_or_none_or_none_where_there_is_nobody(random):
    assert is_shadowed(route(shadow=100.0), random)
    assert not is_shadowed(route(shadow=0.0), random)
    assert not is_shadowed(Route(ALIAS, HERE, shadow=100.0), random)


# Where it is said


def test_what_the_configuration_says_is_a_route():
    settings = RouteSettings(model=HERE, other=THERE, share=12.5, sticky="index", shadow=1.0, fallback=True)
    assert from_settings(ALIAS, settings) == Route(ALIAS, HERE, THERE, 12.5, "index", 1.0, fallback=True)
    assert from_settings(ALIAS, RouteSettings(model=HERE)) == Route(ALIAS, HERE)


def test_what_was_said_later_is_the_same_route():
    record = RouteRecord(ALIAS, HERE, THERE, 12.5, "index", 1.0, fallback=True, changed_at=1e9)
    assert from_record(record) == Route(ALIAS, HERE, THERE, 12.5, "index", 1.0, fallback=True)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"share": 101.0}, "^share: Input should be less than or equal to 100$"),
        ({"share": -1.0, "shadow": float("nan")}, "^share: .* 0; shadow: .*$"),
        ({"sticky": "day"}, "^sticky: Input should be 'key' or 'index'$"),
        ({"other": HERE}, "^other must be another model than model$"),
    ],
)
def test_what_could_not_be_said_in_the_configuration_is_refused_in_a_line(fields, reason):
    with pytest.raises(ValueError, match=reason):
        from_record(RouteRecord(ALIAS, **{"model": HERE, "other": THERE, **fields}))


def test_a_share_without_another_side_is_refused():
    with pytest.raises(ValueError, match="need other"):
        from_record(RouteRecord(ALIAS, HERE, share=10.0))


def test_a_route_that_leads_to_models_that_there_are_is_good():
    check(route(), KNOWN)
    check(Route("search", "all-MiniLM-L6-v2"), KNOWN)


@pytest.mark.parametrize(
    ("a_route", "reason"),
    [
        (Route(HERE, THERE), "must be a name that no model has"),
        (Route("with space", HERE), "must be a name that no model has"),
        (Route("", HERE), "must be a name that no model has"),
        (Route(ALIAS, "mpnet"), "'mpnet' is not served; models are named by their own names: all-mpnet-base"),
        (Route(ALIAS, HERE, "gone"), "'gone' is not served"),
    ],
)
def test_a_route_that_leads_nowhere_or_takes_a_models_name_is_refused(a_route, reason):
    with pytest.raises(ValueError, match=reason):
        check(a_route, KNOWN)
