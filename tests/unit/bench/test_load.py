"""load: closed loops and open ones, over ways that answer when they are told to."""

import asyncio
from itertools import repeat

import numpy as np
import pytest
from load import Target, Window, closed_loop, open_loop, send_times
from texts import Text
from ways import BatchError

WINDOW = Window(settle=0.05, seconds=0.2)


def target(way):
    return Target(way, repeat([Text("a", 3), Text("b", 4)]), lambda: {"program": 0.0})


def test_calls_are_sent_evenly_as_many_as_the_rate_makes():
    assert send_times(100.0, rate=4, seconds=1) == [100.0, 100.25, 100.5, 100.75]
    assert len(send_times(0.0, rate=150, seconds=2.5)) == 375


async def test_a_closed_loop_has_as_many_calls_under_way_as_callers_and_never_more():
    under_way, most = set(), 0

    async def way(caller, _texts):
        nonlocal most
        assert caller not in under_way
        under_way.add(caller)
        most = max(most, len(under_way))
        await asyncio.sleep(0)
        under_way.remove(caller)
        return np.zeros((2, 1))

    figures = await closed_loop(target(way), 5, WINDOW)
    assert most == 5
    assert figures.texts == 2 * figures.requests
    assert figures.tokens == 7 * figures.requests


async def test_an_open_loop_sends_on_though_nothing_is_answered():
    sent = 0
    answer = asyncio.Event()

    async def way(_caller, _texts):
        nonlocal sent
        sent += 1
        if sent == 25:  # the last of 5 that settle and 20 of the window
            answer.set()
        await answer.wait()

    figures = await open_loop(target(way), 100, WINDOW)
    assert figures.requests == 20


async def test_time_in_an_open_loop_counts_from_when_a_call_was_to_be_sent():
    loop = asyncio.get_running_loop()

    async def way(_caller, _texts):
        """Keeps the callers themselves from sending: each call is answered at once, but late."""
        until = loop.time() + 0.02
        while loop.time() < until:
            pass

    figures = await open_loop(target(way), 100, WINDOW)
    assert figures.latency_ms["p99"] > 100


async def test_failures_are_figures_and_end_nothing():
    answers = 0

    async def way(_caller, _texts):
        nonlocal answers
        answers += 1
        await asyncio.sleep(0)
        if answers % 2:
            raise BatchError("no")

    figures = await closed_loop(target(way), 1, WINDOW)
    assert figures.errors["BatchError"] == pytest.approx(figures.requests, abs=1)
