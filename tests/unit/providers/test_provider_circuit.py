"""providers: one that fails again and again is left alone, tried again, and used when it is well."""

import asyncio
import random
import time

import pytest
from prometheus_client import Gauge
from remote import caller, embed
from structlog.testing import capture_logs
from support.trust import until

from embedsvc.breaker import Breaker
from embedsvc.errors import DeadlineExceededError, EmbedsvcError, ProviderDownError
from embedsvc.providers import opening
from embedsvc.providers.circuit import Circuit
from embedsvc.providers.opening import states
from embedsvc.providers.outcome import CallError

FAILURES = 3
LONG = 1000.0


async def ask(model, seconds=30.0):
    """What becomes of a call: "ok", or the name of the error."""
    try:
        await embed(model, "hello", by=caller(seconds))
    except EmbedsvcError as error:
        return type(error)
    return "ok"


async def open_it(model, openai):
    openai.behave("status", status=503)
    for _ in range(FAILURES):
        assert await ask(model) is ProviderDownError
    assert model.provider.state == "open"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("status", {"status": 500}),
        ("status", {"status": 429}),
        ("status", {"status": 401}),
        ("status", {"status": 404}),
        ("hang_up", {}),
        ("garbage", {}),
        ("short", {}),
        ("nan", {}),
        ("stall", {}),
    ],
)
async def test_whatever_fails_as_often_as_is_set_is_left_alone(providers, openai, kind, values):
    openai.behave(kind, **values)
    model = await providers.open(timeout_seconds=0.2, pause_seconds=LONG)
    for number in range(FAILURES):
        assert (model.ready, len(openai.requests)) == (True, number)
        assert await ask(model) is ProviderDownError
    assert not model.ready
    for _ in range(20):
        assert await ask(model) is ProviderDownError
    assert len(openai.requests) == FAILURES


async def test_who_finds_it_left_alone_is_told_so_at_once_and_until_when(providers, openai):
    model = await providers.open(pause_seconds=40.0)
    await open_it(model, openai)
    began = time.monotonic()
    with pytest.raises(ProviderDownError, match="openai is down; try again later") as caught:
        await embed(model, "hello")
    assert time.monotonic() - began < 1
    assert 29 <= caught.value.retry_after <= 50
    assert providers.counted("skipped") == 0  # it did not even wait for its turn


async def test_texts_that_it_does_not_take_are_no_failure(providers, openai):
    model = await providers.open(pause_seconds=LONG)
    openai.behave("status", status=400)
    for _ in range(3 * FAILURES):
        await ask(model)
    assert model.ready


async def test_a_success_between_failures_counts_from_anew(providers, openai):
    model = await providers.open(pause_seconds=LONG)
    for _ in range(3):
        openai.behave("status", times=FAILURES - 1, status=500)
        for _ in range(FAILURES - 1):
            assert await ask(model) is ProviderDownError
        assert await ask(model) == "ok"


async def test_after_a_pause_one_call_tries_and_closes_it(providers, openai, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 1.0)
    model = await providers.open(pause_seconds=0.3)
    await open_it(model, openai)
    openai.clear()
    openai.behave("delay", seconds=0.2, times=1)
    assert await ask(model) is ProviderDownError
    await asyncio.sleep(0.3)
    assert (model.provider.state, model.ready) == ("half_open", True)
    many = await asyncio.gather(*(ask(model) for _ in range(10)))
    assert sorted(many, key=str) == [*[ProviderDownError] * 9, "ok"]
    assert len(openai.requests) == FAILURES + 1
    assert model.provider.state == "closed"
    assert await asyncio.gather(*(ask(model) for _ in range(10))) == ["ok"] * 10


async def test_each_failed_trial_doubles_the_pause_to_a_minute():
    made = opening._breaker(opening.ProviderSettings(failures=1, pause_seconds=5.0, models=ANY))
    assert pauses_of(made) == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    longer = opening._breaker(opening.ProviderSettings(failures=1, pause_seconds=90.0, models=ANY))
    assert pauses_of(longer) == [90.0, 90.0, 90.0, 90.0, 90.0, 90.0]


ANY = {"m": {"dimensions": 8}}


def pauses_of(breaker: Breaker) -> list[float]:
    """How long it is open after each of six failures, as the middle of what it may be."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "uniform", lambda _low, _high: 1.0)
        for _ in range(6):
            breaker.failed(breaker.allows())
            found.append(round(breaker.pause_left, 1))
            patch.setattr(breaker, "_closed_at", 0.0)
    return found


class Call:
    """A call that has begun, and ends as it is told to."""

    def __init__(self, circuit: Circuit) -> None:
        self._passed = circuit.passed()
        self._passed.__enter__()

    def end(self, error: BaseException | None = None) -> None:
        self._passed.__exit__(type(error) if error else None, error, None)


@pytest.mark.parametrize("end", [CallError("timeout", "no answer in time"), asyncio.CancelledError()])
def test_how_calls_from_before_it_opened_end_does_not_decide_its_trial(end, monkeypatch):
    circuit = Circuit(
        "openai", Breaker(1, first_pause=LONG, longest_pause=LONG), Gauge("circuit", "", registry=None)
    )
    early = [Call(circuit) for _ in range(4)]
    early.pop().end(CallError("failed", "status 500"))
    assert circuit.state == "open"
    early.pop().end(end)
    monkeypatch.setattr(circuit._breaker, "_closed_at", 0.0)
    trial = Call(circuit)
    early.pop().end(end)
    assert circuit.state == "half_open"
    with pytest.raises(ProviderDownError):
        Call(circuit)
    trial.end()
    assert circuit.state == "closed"


async def test_one_that_hangs_is_left_alone_though_every_caller_leaves_before_its_time_out(
    providers, openai, monkeypatch
):
    monkeypatch.setattr(opening, "PATIENCE", 0.1)
    openai.behave("stall")
    model = await providers.open(timeout_seconds=60.0, pause_seconds=LONG)
    for _ in range(FAILURES):
        assert await ask(model, seconds=0.2) is DeadlineExceededError
    assert await ask(model) is ProviderDownError


async def test_callers_that_leave_soon_say_nothing_of_it(providers, openai):
    openai.behave("stall")
    model = await providers.open(timeout_seconds=60.0, pause_seconds=LONG)
    for _ in range(3 * FAILURES):
        assert await ask(model, seconds=0.02) is DeadlineExceededError
    assert model.ready


async def test_a_trial_whose_caller_leaves_makes_room_for_another(providers, openai):
    model = await providers.open(pause_seconds=0.05)
    await open_it(model, openai)
    openai.clear()
    openai.behave("stall", times=1)
    await asyncio.sleep(0.1)
    assert await ask(model, seconds=0.05) is DeadlineExceededError
    assert model.provider.state == "half_open"
    assert await ask(model) == "ok"


async def test_its_state_is_shown_and_told_when_it_changes(providers, openai, monkeypatch):
    monkeypatch.setattr(opening, "INTERVAL", 0.01)
    model = await providers.open(pause_seconds=0.3)
    await until(lambda: providers.circuit() == 0)
    with capture_logs() as logs:
        await open_it(model, openai)
        assert providers.circuit() == 2
        await until(lambda: providers.circuit() == 1)  # without a call
        openai.clear()
        assert await ask(model) == "ok"
        assert providers.circuit() == 0
    told = [(line["event"], line["log_level"]) for line in logs if line["event"] != "provider call failed"]
    assert told == [("provider is left alone", "warning"), ("provider answers again", "info")]


async def test_the_states_of_all_are_had_by_name_once_each(providers, openai):
    two = {name: {"dimensions": 8} for name in ("a", "b")}
    one = await providers.open(two, "one", pause_seconds=LONG)
    other = await providers.open(two, "other")
    await open_it(one, openai)
    assert dict(states([one, one, other])) == {"one": "open", "other": "closed"}
