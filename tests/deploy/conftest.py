"""The files that containers are made from, read as Compose reads them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from support.programs import BIN, ROOT

from embedsvc.config import load


class ComposeLoader(yaml.SafeLoader):
    """YAML with Compose's own tags."""


ComposeLoader.add_constructor("!reset", lambda _loader, _node: None)


def read_compose(name: str) -> dict:
    """A file of Compose, with every variable at its default."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / name).read_text())
    return yaml.load(text, ComposeLoader)


@pytest.fixture(scope="session")
def compose() -> dict:
    return read_compose("docker-compose.yml")


@pytest.fixture(scope="session")
def cpu_override() -> dict:
    return read_compose("docker-compose.cpu.yml")


@pytest.fixture(scope="session")
def settings():
    """What the containers are set to."""
    return load(ROOT / "deploy/embedsvc.toml")


@pytest.fixture(scope="session")
def rendered(compose, state, tmp_path_factory) -> Path:
    """Envoy's configuration, written by the command of the service edge-config, with certificates of ours."""
    folder = tmp_path_factory.mktemp("edge")
    command, out, _ = compose["services"]["edge-config"]["command"]
    certificates = {
        "EMBEDSVC_EDGE__CA": str(state.path("ca.crt")),
        "EMBEDSVC_EDGE__CERTIFICATE": str(state.path("envoy.crt")),
        "EMBEDSVC_EDGE__KEY": str(state.path("envoy.key")),
        "EMBEDSVC_CONFIG": "deploy/embedsvc.toml",
    }
    arguments = [BIN / "embedsvc", command, out, folder]
    subprocess.run(arguments, cwd=ROOT, env=os.environ | certificates, check=True)
    return folder / "envoy.yaml"
