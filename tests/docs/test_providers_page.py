"""docs/providers.md: the settings that it shows load, and nothing that is counted is left out."""

import re
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry
from support.programs import ROOT

from embedsvc.config import load
from embedsvc.metrics.routing import provider_metrics
from embedsvc.providers.outcome import Outcome
from embedsvc.providers.sdk import HEADERS


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs/providers.md").read_text()


def test_the_settings_that_it_shows_load(page, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (shown,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "embedsvc.toml"
    path.write_text(shown)
    assert load(path).known_models[-2:] == ("openai/text-embedding-3-small", "lab/BAAI/bge-m3")


def test_every_way_in_which_a_call_ends_is_in_it(page):
    assert [outcome for outcome in get_args(Outcome) if f"`{outcome}`" not in page] == []


def test_every_series_is_in_it(page):
    registry = CollectorRegistry()
    provider_metrics(registry)
    shown = set(re.findall(r"`(embeddings_provider_[a-z_]+?)(?:_total)?`", page))
    assert shown == {family.name for family in registry.collect()}


def test_every_header_of_ours_is_in_it(page):
    assert [
        f"{name.lower()}: {value}"
        for name, value in HEADERS.items()
        if f"{name.lower()}: {value}" not in page
    ] == []
