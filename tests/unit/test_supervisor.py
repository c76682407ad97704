"""supervisor: what each of several processes is told to be. What they do together is in tests/rpc."""

import pickle
import sys

import pytest

from embedsvc import supervisor
from embedsvc.config import EngineSettings, LedgerSettings, ServerSettings, Settings
from embedsvc.config.cache import CacheSettings
from embedsvc.engine.devices import Devices
from embedsvc.engine.sharing import Sharing
from embedsvc.errors import ConfigurationError


@pytest.fixture
def settings():
    server = ServerSettings(processes=3, drain_seconds=20, drain_notice_seconds=4)
    return Settings(
        server=server, engine=EngineSettings(queue_tokens=1000), cache=CacheSettings(memory_bytes=500)
    )


@pytest.fixture
def fronts(settings, tmp_path):
    return supervisor.fronts_of(settings, Sharing(tmp_path, Devices(["a GPU"]), owner=True))


def test_fronts_are_numbered_from_one_on(fronts):
    assert [front.number for front in fronts] == [1, 2, 3]


def test_what_may_wait_and_be_remembered_is_divided_among_them(fronts):
    assert {front.settings.engine.queue_tokens for front in fronts} == {333}
    assert {front.settings.cache.memory_bytes for front in fronts} == {166}


def test_all_else_is_as_it_was_set(fronts, settings):
    for front in fronts:
        restored = front.settings.engine.model_copy(update={"queue_tokens": 1000})
        cache = front.settings.cache.model_copy(update={"memory_bytes": 500})
        assert front.settings.model_copy(update={"engine": restored, "cache": cache}) == settings


def test_they_are_guests_and_need_not_ask_what_the_machine_has(fronts, tmp_path):
    for front in fronts:
        assert front.sharing == Sharing(tmp_path, Devices(["a GPU"]), owner=False)


def test_a_front_has_its_drain_and_some_more_to_end(fronts):
    drains = 24 + LedgerSettings().drain_seconds
    assert {front.grace for front in fronts} == {drains + supervisor.STOP_SECONDS}


def test_a_front_can_be_told_what_it_is(fronts):
    assert pickle.loads(pickle.dumps(fronts)) == fronts


async def test_it_needs_linux(settings, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigurationError, match=r"^server\.processes: .* needs Linux$"):
        await supervisor.serve(settings)
