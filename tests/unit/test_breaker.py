"""breaker: what has failed again and again is left alone, for a while that grows, and then tried once."""

import random

import pytest

from embedsvc import breaker as module
from embedsvc.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Breaker

MOST_LUCK, LEAST_LUCK = 1.25, 0.75


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def breaker(clock):
    return Breaker()


def open_it(breaker):
    for _ in range(FAILURES):
        fail(breaker)


def fail(breaker):
    breaker.failed(breaker.allows())


def pause_of(breaker, clock):
    """How long it is open for, to a hundredth of a second."""
    began = clock.now
    while breaker.state == "open":
        clock.now += 0.01
    return clock.now - began


def test_closed_it_lets_every_call_through(breaker):
    assert all(breaker.allows() for _ in range(100))


def test_a_few_failures_do_not_open_it(breaker):
    for _ in range(FAILURES - 1):
        fail(breaker)
    assert all(breaker.allows() for _ in range(100))


def test_a_success_between_failures_counts_from_anew(breaker):
    for _ in range(10):
        fail(breaker)
        fail(breaker)
        breaker.succeeded(breaker.allows())
    assert breaker.allows()


def test_failures_in_a_row_open_it_and_nothing_goes_through(breaker, clock):
    open_it(breaker)
    assert not any(breaker.allows() for _ in range(100))
    clock.now += FIRST_PAUSE * LEAST_LUCK - 0.01
    assert not breaker.allows()


def test_after_a_pause_one_call_goes_through_and_others_wait_for_what_becomes_of_it(breaker, clock):
    open_it(breaker)
    clock.now += FIRST_PAUSE * MOST_LUCK
    trial = breaker.allows()
    assert trial
    assert not any(breaker.allows() for _ in range(4))
    breaker.succeeded(trial)
    assert all(breaker.allows() for _ in range(5))


def test_every_further_failure_doubles_the_pause_up_to_a_bound(breaker, clock, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 1.0)
    open_it(breaker)
    pauses = []
    for _ in range(9):
        pauses.append(round(pause_of(breaker, clock), 1))
        fail(breaker)
    assert pauses == [0.5, 1.0, *[LONGEST_PAUSE] * 7]


def test_calls_that_fail_together_count_as_one_outage(breaker, clock):
    calls = [breaker.allows() for _ in range(64)]
    assert all(calls)
    for call in calls:
        breaker.failed(call)
    assert pause_of(breaker, clock) <= FIRST_PAUSE * MOST_LUCK + 0.01


def test_a_trial_that_nobody_waited_for_makes_room_for_another(breaker, clock):
    open_it(breaker)
    clock.now += FIRST_PAUSE * MOST_LUCK
    breaker.abandoned(breaker.allows())
    assert breaker.allows()


def test_an_abandoned_call_says_nothing_of_the_other_side(breaker):
    for _ in range(100):
        breaker.abandoned(breaker.allows())
    assert breaker.allows()


def test_a_late_answer_of_a_call_from_before_closes_it(breaker):
    early = breaker.allows()
    open_it(breaker)
    breaker.succeeded(early)
    assert all(breaker.allows() for _ in range(5))


@pytest.mark.parametrize("end", [Breaker.succeeded, Breaker.failed, Breaker.abandoned])
def test_a_trial_decides_however_a_call_from_before_ends_meanwhile(breaker, clock, end):
    early = breaker.allows()
    open_it(breaker)
    clock.now += FIRST_PAUSE * MOST_LUCK
    trial = breaker.allows()
    end(breaker, early)
    assert breaker.state == "half_open"
    assert not breaker.allows()
    breaker.failed(trial)
    assert breaker.state == "open"


def test_a_call_that_is_made_in_any_case_is_the_trial_where_it_is_open(breaker):
    open_it(breaker)
    call = breaker.insists()
    assert breaker.state == "half_open"
    breaker.succeeded(call)
    assert breaker.state == "closed"


def test_how_many_failures_and_how_long_pauses_are_its_makers_choice(clock, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 1.0)
    breaker = Breaker(failures=1, first_pause=5.0, longest_pause=12.0)
    fail(breaker)
    pauses = []
    for _ in range(4):
        pauses.append(round(pause_of(breaker, clock), 1))
        fail(breaker)
    assert pauses == [5.0, 10.0, 12.0, 12.0]


def test_its_state_says_what_a_call_would_meet(breaker, clock):
    assert breaker.state == "closed"
    open_it(breaker)
    assert breaker.state == "open"
    clock.now += FIRST_PAUSE * MOST_LUCK
    assert breaker.state == "half_open"
    trial = breaker.allows()
    assert breaker.state == "half_open"
    breaker.failed(trial)
    assert breaker.state == "open"
    clock.now += LONGEST_PAUSE * MOST_LUCK
    breaker.succeeded(breaker.allows())
    assert breaker.state == "closed"


def test_servers_do_not_come_back_at_the_same_moment(clock):
    pauses = set()
    for _ in range(20):
        breaker = Breaker()
        open_it(breaker)
        pauses.add(round(pause_of(breaker, clock), 2))
    assert len(pauses) > 5
    assert min(pauses) >= FIRST_PAUSE * LEAST_LUCK - 0.01
    assert max(pauses) <= FIRST_PAUSE * MOST_LUCK + 0.02
