"""watchdog: a batch that hangs is told from one that takes long, on a clock of its own."""

import asyncio

import pytest

from embedsvc.engine.pace import Pace
from embedsvc.engine.watchdog import DOUBT_SECONDS, HANGS, Watchdog

PATIENCE = 30.0


class Clock:
    """An event loop's clock that a test moves."""

    def __init__(self, monkeypatch):
        self.now, self._timers = 0.0, []
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self)

    def call_later(self, delay, callback, *arguments):
        timer = Timer(self.now + delay, callback, arguments)
        self._timers.append(timer)
        return timer

    def move(self, seconds):
        end = self.now + seconds
        while due := [timer for timer in self._timers if not timer.over and timer.when <= end]:
            first = min(due, key=lambda timer: timer.when)
            first.over, self.now = True, first.when
            first.callback(*first.arguments)
        self.now = end


class Timer:
    def __init__(self, when, callback, arguments):
        self.when, self.callback, self.arguments, self.over = when, callback, arguments, False

    def cancel(self):
        self.over = True


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def bites():
    return []


@pytest.fixture
def watchdog(bites):
    return Watchdog(PATIENCE, Pace(), bites.append)


def test_the_oldest_batch_is_given_its_patience_however_many_others_go_on(clock, watchdog, bites):
    watchdog.watch(1, 0)
    for _ in range(3):
        clock.move(PATIENCE / 3)
        watchdog.watch(1, 0)
    assert bites == []
    clock.move(DOUBT_SECONDS)
    assert bites == ["a batch took longer than 30.0 s"]


def test_the_next_one_has_all_of_it_again(clock, watchdog, bites):
    for number in range(10):
        watchdog.watch(number, 0)
        clock.move(0.9 * PATIENCE)
    assert bites == []


def test_a_large_batch_has_what_the_slowest_of_late_would_have_taken_too(clock, bites):
    pace = Pace()
    pace.record(tokens=10, seconds=1.0)
    watchdog = Watchdog(PATIENCE, pace, bites.append)
    watchdog.watch(1, 100)
    clock.move(PATIENCE + HANGS * pace.at_worst(100))
    assert bites == []
    clock.move(DOUBT_SECONDS)
    assert len(bites) == 1


def test_where_there_is_none_or_it_was_told_to_stop_nothing_is_watched(clock, watchdog, bites):
    watchdog.watch(1, 0)
    watchdog.watch(None, 0)
    clock.move(10 * PATIENCE)
    watchdog.watch(2, 0)
    watchdog.stop()
    clock.move(10 * PATIENCE)
    assert bites == []


def test_without_patience_it_watches_nothing(clock, bites):
    Watchdog(None, Pace(), bites.append).watch(1, 0)
    clock.move(1e9)
    assert bites == []
