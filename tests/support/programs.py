"""The real programs, run as their users run them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.pki import State

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
START_SECONDS = 120
ENVOY_OPTIONS = (
    "--disable-hot-restart",
    "--concurrency",
    "2",
    "--file-flush-interval-msec",
    "50",
    "-l",
    "warning",
)
EDGE_PORTS = ("PORT", "TLS_PORT", "GRPC_PORT", "STATS_PORT", "ADMIN_PORT")


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """A server process.

    Attributes:
        log: Its standard error, one JSON object a line.
    """

    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    log: Path
    state: State
    environment: dict[str, str]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def channel(self, client: str | None = "client", **options: int) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            self.address,
            self.state.credentials(client),
            [("grpc.max_receive_message_length", -1), *options.items()],
        )

    def events(self) -> list[dict[str, object]]:
        """What it has logged."""
        return [
            json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line[-1] == "\n"
        ]

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as response:
            return response.read().decode()

    def sample(self, line: str) -> float:
        """The value of one series, such as 'embeddings_requests_total{code="OK",rpc="Embed"}'."""
        for found in self.metrics().splitlines():
            if found.startswith(line + " "):
                return float(found.rpartition(" ")[2])
        return 0.0


@dataclass
class Edge:
    """An Envoy process.

    Attributes:
        ports: Its listeners' and its admin page's, by EDGE_PORTS.
        servers: What is behind it.
    """

    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    log: Path
    state: State
    servers: list[Server]

    @property
    def port(self) -> int:
        return self.ports["PORT"]

    @property
    def admin_port(self) -> int:
        return self.ports["ADMIN_PORT"]

    @property
    def grpc_port(self) -> int:
        return self.ports["GRPC_PORT"]

    @property
    def server(self) -> Server:
        return self.servers[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def https(self) -> str:
        return f"https://localhost:{self.ports['TLS_PORT']}"

    def channel(self, client: str | None = "client", **options: int) -> grpc.aio.Channel:
        """A channel to the listener for internal services."""
        return grpc.aio.secure_channel(
            f"localhost:{self.grpc_port}", self.state.credentials(client), list(options.items())
        )

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose whole name matches."""
        url = f"http://127.0.0.1:{self.admin_port}/stats?filter=^{pattern}$"
        with urllib.request.urlopen(url) as response:
            lines = response.read().decode().splitlines()
        return {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}


def settings_for(state: State, **values: object) -> dict[str, str]:
    """Environment variables for a server of its own: ports, certificates, keys; and `SECTION__KEY=value`."""
    chosen = {
        "SERVER__PORT": free_port(),
        "METRICS__PORT": free_port(),
        "TLS__CA": state.path("ca.crt"),
        "TLS__CERTIFICATE": state.path("server.crt"),
        "TLS__KEY": state.path("server.key"),
        "EDGE__CA": state.path("ca.crt"),
        "EDGE__CERTIFICATE": state.path("envoy.crt"),
        "EDGE__KEY": state.path("envoy.key"),
        **{f"EDGE__{of}_CERTIFICATE": state.path("edge.crt") for of in ("PUBLIC", "GRPC")},
        **{f"EDGE__{of}_KEY": state.path("edge.key") for of in ("PUBLIC", "GRPC")},
        "AUTH__KEYS": f"file:{state.path('api_keys')}",
        "AUTH__NONCES": state.path("nonces"),
        "STORE__PATH": state.path("embedsvc.db"),
        **values,
    }
    return {f"EMBEDSVC_{name}": str(value) for name, value in chosen.items()}


@contextmanager
def run_server(
    state: State, folder: Path, encoder: str = "sentence-transformers", **values: object
) -> Iterator[Server]:
    """Run `embedsvc serve` until the context ends; it must then stop cleanly, within its drain."""
    values = {"CACHE__PATH": folder / "cache.db", **values}
    environment = settings_for(state, ENGINE__ENCODER=encoder, **values)
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [BIN / "embedsvc", "serve"], cwd=ROOT, env=os.environ | environment, stderr=file
        )
    port, metrics_port = (int(environment[f"EMBEDSVC_{name}__PORT"]) for name in ("SERVER", "METRICS"))
    server = Server(process, port, metrics_port, log, state, environment)
    try:
        _wait_until(lambda: any(event["event"] == "serving" for event in server.events()), process, log)
        yield server
    finally:
        _stop(process)


@contextmanager
def run_edge(
    server: Server | Sequence[Server], state: State, folder: Path, *, refused: bool = False, **values: object
) -> Iterator[Edge]:
    """Run Envoy in front of servers until the context ends; `refused` where they will not have it.

    In the profile for development, unless `EDGE__PROFILE` is given. A server may be all that has an address.
    """
    servers = [server] if isinstance(server, Server) else list(server)
    ports = {f"EDGE__{name}": free_port() for name in EDGE_PORTS}
    upstreams = json.dumps([each.address for each in servers])
    values = {"EDGE__PROFILE": "development", "EDGE__UPSTREAMS": upstreams, **ports, **values}
    environment = os.environ | settings_for(state, **values)
    subprocess.run([BIN / "embedsvc", "render-edge", "--out", folder], cwd=ROOT, env=environment, check=True)
    log = folder / "envoy.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [BIN / "envoy", "-c", folder / "envoy.yaml", *ENVOY_OPTIONS],
            stdout=file,
            stderr=file,
        )
    edge = Edge(process, {name: ports[f"EDGE__{name}"] for name in EDGE_PORTS}, log, state, servers)
    expected = 0 if refused else len(servers)
    try:
        _wait_until(lambda: _sees(edge, expected), process, log)
        yield edge
    finally:
        _stop(process)


def _sees(edge: Edge, expected: int) -> bool:
    """Whether Envoy is ready, and that many servers are healthy in its eyes."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{edge.admin_port}/ready"):
            return edge.stats("cluster.embedsvc.membership_healthy").popitem()[1] == expected
    except (urllib.error.URLError, ConnectionError, KeyError):
        return False


def _wait_until(ready, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args} did not start:\n{log.read_text()}")
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
