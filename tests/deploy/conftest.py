"""The files that containers are made from, read as Compose reads them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.compose import COOLIFY, CPU, MAIN, read_compose
from support.kustomize import OVERLAYS, Cluster, overlay
from support.programs import BIN, ROOT

from embedsvc.config import load

HELD = {
    "CA": "ca.crt",
    "CERTIFICATE": "envoy.crt",
    "KEY": "envoy.key",
    "PUBLIC_CERTIFICATE": "edge.crt",
    "PUBLIC_KEY": "edge.key",
    "GRPC_CERTIFICATE": "edge.crt",
    "GRPC_KEY": "edge.key",
}
"""Settings of Envoy's certificates, and the files of the tests' own that stand for them."""


@pytest.fixture(scope="session")
def compose() -> dict:
    return read_compose(MAIN)


@pytest.fixture(scope="session")
def cpu_override() -> dict:
    return read_compose(CPU)


@pytest.fixture(scope="session")
def coolify() -> dict:
    return read_compose(COOLIFY)


@pytest.fixture(params=OVERLAYS)
def cluster(request) -> Cluster:
    """What each overlay of Kubernetes makes."""
    return overlay(request.param)


@pytest.fixture(scope="session")
def settings():
    """What the containers are set to."""
    return load(ROOT / "deploy/embedsvc.toml")


@pytest.fixture(scope="session")
def rendered(compose, state, tmp_path_factory) -> Path:
    """Envoy's configuration, written by the command of the service edge-config, with certificates of ours."""
    folder = tmp_path_factory.mktemp("edge")
    service = compose["services"]["edge-config"]
    command, out, _ = service["command"]
    certificates = {f"EMBEDSVC_EDGE__{name}": str(state.path(file)) for name, file in HELD.items()}
    environment = {name: str(value) for name, value in service["environment"].items()}
    subprocess.run(
        [BIN / "embedsvc", command, out, folder],
        cwd=ROOT,
        env=os.environ | certificates | environment | {"EMBEDSVC_CONFIG": "deploy/embedsvc.toml"},
        check=True,
    )
    return folder / "envoy.yaml"
