"""The service as its users run it: the embedding server, and Envoy in front of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from model import MODEL, ROOT
from processes import Command, Program, free_ports, running, wait_until_ready

from embedsvc.dev import pki
from embedsvc.keys import token as keys

BIN = Path(sys.executable).parent
EDGE_PORTS = ("port", "tls_port", "grpc_port", "stats_port", "admin_port")


@dataclass(frozen=True, slots=True)
class Service:
    """Where it is, and what a caller needs to be let in.

    Attributes:
        grpc: The server itself, over mTLS.
        balanced: Envoy's listener for gRPC over mTLS.
        rest: Envoy in front of it.
        folder: Certificates, keys and logs.
        api_key: A key that the server knows.
        server: Its process.
        envoy: Envoy's.
    """

    grpc: str
    balanced: str
    rest: str
    folder: Path
    api_key: str
    server: Program
    envoy: Program

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        """What goes with every call, over gRPC and over HTTP."""
        return (("authorization", f"Bearer {self.api_key}"),)

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            RuntimeError: It does not start.
        """
        wait_until_ready(f"{self.rest}/health", self.server, self.envoy)


@contextmanager
def run_service(
    folder: Path,
    encoder: str,
    model: Path,
    command: Command = (BIN / "embedsvc", "serve"),
    more: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Service]:
    """Run the service until the context ends.

    Args:
        folder: Where its state goes.
        encoder: `engine.encoder`; all else is as it comes.
        model: Where the model's files are.
        command: What starts the server.
        more: Further variables of its environment.
    """
    folder.mkdir()
    api_key = _make_state(folder)
    ports = free_ports("server", "metrics", *EDGE_PORTS)
    settings = _settings(folder, ports) | _model_settings(encoder, model) | more
    _render_edge(folder, settings)
    with (
        running(command, folder / "server.log", settings) as server,
        running(_envoy(folder), folder / "envoy.log", {}) as envoy,
    ):
        grpc, balanced = (f"127.0.0.1:{ports[name]}" for name in ("server", "grpc_port"))
        rest = f"http://127.0.0.1:{ports['port']}"
        yield Service(grpc, balanced, rest, folder, api_key, server, envoy)


def _make_state(folder: Path) -> str:
    """Make certificates and a key; return the key."""
    ca = pki.make_ca()
    for name, identity in pki.make_all(ca).items():
        (folder / f"{name}.crt").write_bytes(identity.certificate_pem)
        (folder / f"{name}.key").write_bytes(identity.key_pem)
    api_key = keys.generate()
    (folder / "api_keys").write_text(f"{keys.digest(api_key)} bench\n")
    return api_key


def _settings(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """Where things are."""
    values = {
        "SERVER__PORT": ports["server"],
        "METRICS__PORT": ports["metrics"],
        "EDGE__PROFILE": "development",  # a benchmark meets no limit
        **{f"EDGE__{name.upper()}": ports[name] for name in EDGE_PORTS},
        "TLS__CA": folder / "ca.crt",
        "TLS__CERTIFICATE": folder / "server.crt",
        "TLS__KEY": folder / "server.key",
        "EDGE__CA": folder / "ca.crt",
        "EDGE__CERTIFICATE": folder / "envoy.crt",
        "EDGE__KEY": folder / "envoy.key",
        **{f"EDGE__{of}_CERTIFICATE": folder / "edge.crt" for of in ("PUBLIC", "GRPC")},
        **{f"EDGE__{of}_KEY": folder / "edge.key" for of in ("PUBLIC", "GRPC")},
        "AUTH__KEYS": f"file:{folder / 'api_keys'}",
        "AUTH__NONCES": folder / "nonces",
        "STORE__PATH": folder / "embedsvc.db",
        "CACHE__PATH": folder / "cache.db",
    }
    return {f"EMBEDSVC_{name}": str(value) for name, value in values.items()}


def _model_settings(encoder: str, model: Path) -> dict[str, str]:
    return {
        "EMBEDSVC_ENGINE__ENCODER": encoder,
        "EMBEDSVC_MODELS__PRIMARY": MODEL,
        "EMBEDSVC_MODELS__FALLBACK": "",
        "EMBEDSVC_MODELS__SETTINGS": json.dumps({MODEL: {"path": str(model)}}),
    }


def _render_edge(folder: Path, settings: Mapping[str, str]) -> None:
    command: Command = [BIN / "embedsvc", "render-edge", "--out", folder]
    subprocess.run(command, cwd=ROOT, env=os.environ | settings, stdout=subprocess.DEVNULL, check=True)


def _envoy(folder: Path) -> Command:
    return [BIN / "envoy", "-c", folder / "envoy.yaml", "--disable-hot-restart", "-l", "warning"]
