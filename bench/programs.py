"""What runs beside the callers: the service, the same with nothing to compute, and its peers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from model import MODEL, ROOT, share_model
from processes import Command, Program, free_ports, running, wait_until_ready
from service import Service, run_service

PEERS_FOLDER = Path(__file__).parent / "peers"
ENVIRONMENTS = ROOT / ".venv-peers"
OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}

INFINITY = (
    "--host=127.0.0.1",
    "--device=cpu",
    "--log-level=warning",
    "--no-model-warmup",  # the check before the first round warms everything up
    "--pooling-method=mean",  # as the model's files say, which its ONNX engine does not read
    f"--served-model-name={MODEL}",
)


@dataclass(frozen=True, slots=True)
class PeerKind:
    """A program that serves the same model.

    Attributes:
        environment: The folder of its own Python environment, below .venv-peers.
        model: The folder that it reads the model from, below the cache.
        command: Its arguments to that Python, for a model's folder and a port.
        ready: A page that answers when it is ready.
    """

    environment: str
    model: str
    command: Callable[[Path, int], Command]
    ready: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer that runs: where, and its process."""

    url: str
    program: Program


@dataclass(frozen=True, slots=True)
class Programs:
    """What runs.

    Attributes:
        service: The service, with the encoder that it chooses itself.
        null: The service with an encoder that computes nothing.
        peers: Those that could be started, by name.
        not_run: Why the others could not.
    """

    service: Service
    null: Service
    peers: Mapping[str, Peer]
    not_run: Mapping[str, str]


def _fastapi(_model: Path, port: int) -> Command:
    return [
        "-m",
        "uvicorn",
        "--app-dir",
        PEERS_FOLDER,
        "--port",
        str(port),
        "--workers",
        "1",
        "fastapi_app:app",
    ]


def _infinity(engine: str) -> Callable[[Path, int], Command]:
    def command(model: Path, port: int) -> Command:
        app = PEERS_FOLDER / "infinity_app.py"
        return [app, "v2", f"--engine={engine}", f"--model-id={model}", f"--port={port}", *INFINITY]

    return command


PEER_KINDS = {
    "FastAPI": PeerKind("fastapi", "model", _fastapi, "/docs"),
    "Infinity torch": PeerKind("infinity", "model", _infinity("torch"), "/health"),
    "Infinity ONNX": PeerKind("infinity", "infinity-onnx", _infinity("optimum"), "/health"),
}


@contextmanager
def run_programs(folder: Path) -> Iterator[Programs]:
    """Run everything until the context ends; all are ready when it begins.

    Raises:
        RuntimeError: The service does not start; the message has its log. Peers that do not are in `not_run`.
    """
    with ExitStack() as stack:
        model = share_model("model")
        service, null = (
            stack.enter_context(run_service(folder / encoder, encoder, model)) for encoder in ("auto", "null")
        )
        started = {
            name: _start(stack, kind, folder / f"{name}.log")
            for name, kind in PEER_KINDS.items()
            if (ENVIRONMENTS / kind.environment / ".stamp").exists()
        }
        service.wait()
        null.wait()
        faults = {name: _find_fault(peer, PEER_KINDS[name]) for name, peer in started.items()}
        not_run = {name: _why_missing(kind) for name, kind in PEER_KINDS.items() if name not in started}
        not_run |= {name: fault for name, fault in faults.items() if fault is not None}
        peers = {name: peer for name, peer in started.items() if name not in not_run}
        yield Programs(service, null, peers, not_run)


def _start(stack: ExitStack, kind: PeerKind, log: Path) -> Peer:
    model, port = share_model(kind.model), free_ports("peer")["peer"]
    command = [ENVIRONMENTS / kind.environment / "bin" / "python", *kind.command(model, port)]
    program = stack.enter_context(running(command, log, {**OFFLINE, "MODEL_FOLDER": str(model)}))
    return Peer(f"http://127.0.0.1:{port}", program)


def _find_fault(peer: Peer, kind: PeerKind) -> str | None:
    """Wait until a peer answers; say why it does not."""
    try:
        wait_until_ready(peer.url + kind.ready, peer.program)
    except RuntimeError as error:
        return f"did not start: {_last_line(str(error))}"
    return None


def _why_missing(kind: PeerKind) -> str:
    log = ENVIRONMENTS / f"{kind.environment}.log"
    return f"not installed: {_last_line(log.read_text()) if log.exists() else 'make bench installs it'}"


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].strip()
