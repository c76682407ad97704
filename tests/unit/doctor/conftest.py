"""Services to look at."""

import pytest
from patient import Patient
from support import pki
from support.programs import EDGE_PORTS, free_port

from embedsvc.config import Settings


@pytest.fixture
def patient(tmp_path) -> Patient:
    """A service that nothing is wrong with; it does not run."""
    state = pki.make(tmp_path)
    for key in tmp_path.glob("*.key"):
        key.chmod(0o600)
    edge = {name.lower(): free_port() for name in EDGE_PORTS}
    certificates = {
        f"{prefix}{part}": tmp_path / f"{name}.{end}"
        for prefix, name in (("", "envoy"), ("public_", "edge"), ("grpc_", "edge"))
        for part, end in (("certificate", "crt"), ("key", "key"))
    }
    settings = Settings(
        server={"port": free_port()},
        metrics={"port": free_port()},
        tls={
            "ca": tmp_path / "ca.crt",
            "certificate": tmp_path / "server.crt",
            "key": tmp_path / "server.key",
        },
        auth={"keys": f"file:{tmp_path / 'api_keys'}", "nonces": tmp_path / "nonces"},
        store={"path": tmp_path / "embedsvc.db"},
        cache={"path": tmp_path / "cache.db", "disk_bytes": 2**20},
        models={"primary": "all-MiniLM-L6-v2", "fallback": "", "folder": tmp_path / "models"},
        edge={"profile": "development", "ca": tmp_path / "ca.crt", **edge, **certificates},
    )
    return Patient(state, settings)
