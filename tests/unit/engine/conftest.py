"""Fixtures for the engine's suites."""

from dataclasses import replace
from pathlib import Path

import pytest
from obedient_encoder import ObedientEncoder

from embedsvc.engine import engine as module
from embedsvc.engine.source import ModelSource, open_source


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    """Replicas' processes can import what builds their encoders."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
def builds():
    """What builds the encoder of a model, by its name, where that is to be something else."""
    return {}


@pytest.fixture
def obedient(monkeypatch, builds):
    """Engines that are opened have encoders that do as they are told."""

    def source(name, chosen, devices):
        found = open_source(name, chosen, devices)
        files = replace(found.card.files, dimensions=ObedientEncoder.dimensions)
        card = replace(found.card, files=files, calibration=None)
        return ModelSource(card, found.tokenizer, builds.get(name, ObedientEncoder))

    monkeypatch.setattr(module, "open_source", source)
