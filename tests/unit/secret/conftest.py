"""Places that keep a secret, and what is told of its changes."""

import asyncio

import pytest
from structlog.testing import capture_logs
from support.vault import run_vault

from embedsvc.secret import keeper as module
from embedsvc.secret.reference import SecretRef
from embedsvc.secret.settings import VaultSettings

SECONDS = 10


@pytest.fixture
def becomes():
    """Waits until a secret has a value."""

    async def wait(secret, value):
        async with asyncio.timeout(SECONDS):
            while secret.value != value:  # noqa: ASYNC110 - it sets no event
                await asyncio.sleep(0.001)

    return wait


@pytest.fixture(autouse=True)
def logs():
    """What is logged; no test may have a part of a secret in it."""
    with capture_logs() as entries:
        yield entries
    assert "s3cret" not in str(entries)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "key"
    path.write_text("s3cret\n")
    return path


@pytest.fixture
def ref(path):
    return SecretRef("file", str(path))


@pytest.fixture
def rewrite(path):
    """Replaces the file, as an operator's tools do."""

    def rewrite(text):
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)

    return rewrite


@pytest.fixture
def vault():
    with run_vault() as running:
        running.put("embedsvc", key="s3cret")
        yield running


@pytest.fixture
def vault_settings(vault, tmp_path):
    path = tmp_path / "token"
    path.write_text(vault.issue())
    return VaultSettings(address=vault.address, token_file=path, refresh_seconds=0.01)
