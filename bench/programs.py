"""The programs that are measured, each a process of its own on ports of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from embedsvc import keys
from embedsvc.config import ModelSettings
from embedsvc.dev import pki
from embedsvc.engine import files

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
MODEL = "all-MiniLM-L6-v2"
START_SECONDS = 120
STOP_SECONDS = 40

Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the programs are, and what a caller needs to be let in.

    Attributes:
        grpc: The server itself, over mTLS.
        rest: Envoy in front of it.
        fastapi: The FastAPI app.
        folder: Certificates, keys and logs.
        api_key: A key that the server knows.
    """

    grpc: str
    rest: str
    fastapi: str
    folder: Path
    api_key: str


@dataclass(frozen=True, slots=True)
class Program:
    """A process, and the file that its output goes to."""

    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def run_programs(folder: Path) -> Iterator[Addresses]:
    """Run the server, Envoy and the FastAPI app until the context ends; all are ready when it begins.

    Raises:
        RuntimeError: One of them does not start; the message has its log.
    """
    api_key = _make_state(folder)
    ports = _free_ports("server", "metrics", "edge", "admin", "fastapi")
    edge, app = f"http://127.0.0.1:{ports['edge']}", f"http://127.0.0.1:{ports['fastapi']}"
    settings = _settings(folder, ports)
    _render_edge(folder, settings)
    with (
        _running("server", [BIN / "embedsvc", "serve"], folder, settings) as server,
        _running("envoy", _envoy(folder), folder, {}) as envoy,
        _running("fastapi", _uvicorn(ports["fastapi"]), folder, {"MODEL_FOLDER": _weights()}) as fastapi,
    ):
        _wait_until_ready(f"{edge}/health", server, envoy)
        _wait_until_ready(f"{app}/docs", fastapi)
        yield Addresses(f"127.0.0.1:{ports['server']}", edge, app, folder, api_key)


def _make_state(folder: Path) -> str:
    """Make certificates and a key; return the key."""
    ca = pki.make_ca()
    for name, identity in (("ca", ca), ("server", pki.make_server(ca)), ("client", pki.make_client(ca))):
        (folder / f"{name}.crt").write_bytes(identity.certificate_pem)
        (folder / f"{name}.key").write_bytes(identity.key_pem)
    api_key = keys.generate()
    (folder / "api_keys").write_text(f"{keys.digest(api_key)} bench\n")
    return api_key


def _free_ports(*names: str) -> dict[str, int]:
    """Ports that nobody listens on, all different since all are held until the last is found."""
    with ExitStack() as stack:
        probes = {name: stack.enter_context(closing(socket.socket())) for name in names}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {name: probe.getsockname()[1] for name, probe in probes.items()}


def _settings(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """What differs from the service's defaults: where things are, and the one model."""
    values = {
        "SERVER__PORT": ports["server"],
        "METRICS__PORT": ports["metrics"],
        "EDGE__PORT": ports["edge"],
        "EDGE__ADMIN_PORT": ports["admin"],
        "TLS__CA": folder / "ca.crt",
        "TLS__CERTIFICATE": folder / "server.crt",
        "TLS__KEY": folder / "server.key",
        "EDGE__CA": folder / "ca.crt",
        "EDGE__CERTIFICATE": folder / "client.crt",
        "EDGE__KEY": folder / "client.key",
        "AUTH__KEYS_FILE": folder / "api_keys",
        "MODELS__PRIMARY": MODEL,
        "MODELS__FALLBACK": "",
    }
    return {f"EMBEDSVC_{name}": str(value) for name, value in values.items()}


def _render_edge(folder: Path, settings: Mapping[str, str]) -> None:
    command: Command = [BIN / "embedsvc", "render-edge", "--out", folder]
    subprocess.run(command, cwd=ROOT, env=os.environ | settings, stdout=subprocess.DEVNULL, check=True)


def _envoy(folder: Path) -> Command:
    return [BIN / "envoy", "-c", folder / "envoy.yaml", "--disable-hot-restart", "-l", "warning"]


def _uvicorn(port: int) -> Command:
    peers = Path(__file__).parent / "peers"
    return [BIN / "uvicorn", "--app-dir", peers, "--port", str(port), "--workers", "1", "fastapi_app:app"]


def _weights() -> str:
    """The folder that the server, too, reads the model from."""
    return str(files.find(MODEL, ModelSettings()).folder)


@contextmanager
def _running(name: str, command: Command, folder: Path, environment: Mapping[str, str]) -> Iterator[Program]:
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | environment, stdout=output, stderr=output
        )
    try:
        yield Program(process, log)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def _wait_until_ready(url: str, *programs: Program) -> None:
    """Wait until a page is answered with 200, or one of the programs that it needs is gone."""
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url):
        for program in programs:
            if program.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program.log.stem} did not start:\n{program.log.read_text()}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
