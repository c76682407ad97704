"""reload: a configuration is read again, and handed to those who can take it."""

import asyncio
from dataclasses import replace

import pytest
import structlog

from embedsvc.background import running
from embedsvc.config import (
    AuthSettings,
    IdentitySettings,
    ModelSettings,
    ProviderSettings,
    ServerSettings,
    Settings,
)
from embedsvc.errors import ConfigurationError
from embedsvc.metrics import Metrics
from embedsvc.reload import Hook, Reloader

BEFORE = Settings()
AFTER = Settings(models=ModelSettings(fallback=""))
HERE = ServerSettings(port=7, reflection=False)
REMOTE = {"dimensions": 3}


class Taker:
    """Takes settings, and fails where it is told to."""

    def __init__(self, *sections, error=None):
        self.hook = Hook(frozenset(sections), self._apply, self._settle)
        self.error = error
        self.taken = []
        self.settled_after = []
        self.may_take = asyncio.Event()
        self.may_take.set()

    async def _apply(self, settings):
        await self.may_take.wait()
        if self.error:
            raise self.error
        self.taken.append(settings)

    async def _settle(self):
        self.settled_after.append(len(self.taken))


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def logs():
    with structlog.testing.capture_logs() as captured:
        yield captured


def reloader(metrics, takers, *configurations):
    """One that reads these, one after the other."""
    read = iter(configurations)
    hooks = [taker.hook for taker in takers]
    return Reloader(BEFORE, lambda: next(read), hooks, metrics.loading.reloads)


def count(metrics, result):
    return metrics.registry.get_sample_value("embeddings_reloads_total", {"result": result})


async def test_what_is_read_is_handed_to_one_after_the_other(metrics, logs):
    order = []
    takers = [Taker("models"), Taker("routes")]
    for taker in takers:
        taker.taken = order
    await reloader(metrics, takers, AFTER).reload()
    assert order == [AFTER, AFTER]
    assert [taker.settled_after for taker in takers] == [[2], [2]]
    assert count(metrics, "applied") == 1
    assert [line["event"] for line in logs] == ["configuration applied"]


async def test_a_configuration_that_cannot_be_read_changes_nothing_and_is_one_line(metrics, logs):
    taker = Taker("models")

    def read():
        raise ConfigurationError("models.primry: no such setting")

    await Reloader(BEFORE, read, [taker.hook], metrics.loading.reloads).reload()
    assert taker.taken == []
    assert count(metrics, "failed") == 1
    [line] = logs
    assert (line["event"], line["log_level"]) == ("configuration not applied", "error")
    assert line["reason"] == "models.primry: no such setting"
    assert line["exc_info"] is None


async def test_nobody_takes_what_one_of_them_cannot(metrics, logs):
    def refuse(_settings):
        raise ConfigurationError("a provider that is not here")

    takers = [Taker("models"), Taker("routes")]
    takers[1].hook = replace(takers[1].hook, check=refuse)
    await reloader(metrics, takers, AFTER).reload()
    assert [taker.taken for taker in takers] == [[], []]
    assert count(metrics, "failed") == 1
    assert [line["reason"] for line in logs] == ["a provider that is not here"]


@pytest.mark.parametrize(("error", "traced"), [(ConfigurationError("no"), False), (OSError("no"), True)])
async def test_one_that_cannot_take_it_ends_the_round(metrics, logs, error, traced):
    takers = [Taker("models", error=error), Taker("routes")]
    await reloader(metrics, takers, AFTER).reload()
    assert takers[1].taken == []
    assert takers[0].settled_after == [0]
    assert (count(metrics, "failed"), count(metrics, "applied")) == (1, None)
    [line] = logs
    assert (line["reason"], bool(line["exc_info"])) == ("no", traced)


async def test_settings_that_need_a_restart_are_named_in_one_warning(metrics, logs):
    identity = IdentitySettings(name="n", match=("n.example",))
    after = Settings(
        server=HERE,
        auth=AuthSettings(identities=(identity,)),
        models=ModelSettings(fallback=""),
        providers={"openai": ProviderSettings(models={"m": REMOTE})},
    )
    await reloader(metrics, [Taker("models")], after, after, BEFORE).reload()
    [warning] = [line for line in logs if line["log_level"] == "warning"]
    assert warning["settings"] == ["auth.identities", "providers.openai", "server.port", "server.reflection"]


async def test_what_needs_a_restart_is_compared_with_what_the_service_was_started_with(metrics, logs):
    taker = Taker("models")
    other = Settings(server=HERE)
    changing = reloader(metrics, [taker], other, other, BEFORE)
    for _ in range(3):
        await changing.reload()
    warnings = [line["settings"] for line in logs if line["log_level"] == "warning"]
    assert warnings == [["server.port", "server.reflection"]] * 2
    assert taker.taken == [other, other, BEFORE]


async def test_all_who_ask_during_a_round_get_one_more_together(metrics):
    taker, asked = Taker("models"), asyncio.Event()
    reading = reloader(metrics, [taker], *[AFTER] * 9)
    async with asyncio.timeout(10), running(lambda: reading.reload_when(asked)):
        taker.may_take.clear()
        asked.set()
        await until(lambda: not asked.is_set())
        for _ in range(5):
            asked.set()
        taker.may_take.set()
        await until(lambda: len(taker.taken) == 2)
        asked.set()
        await until(lambda: len(taker.taken) == 3)
    assert count(metrics, "applied") == 3


async def until(true):
    """Wait for what another task does."""
    while not true():  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0.001)
