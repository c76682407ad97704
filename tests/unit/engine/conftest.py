"""Fixtures for the engine's suites."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    """Replicas' processes can import what builds their encoders."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
