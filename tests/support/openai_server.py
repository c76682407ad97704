"""A stand-in for OpenAI: its embeddings API over real HTTP, with vectors of its own, that errs when told to.

The real one cannot be had in tests. What it answers follows OpenAI's API reference; vectors are the same for
the same model and text, wherever they are computed: `vector_of`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from embedsvc.engine import openai_tokens

Kind = Literal[
    "status",  # answers `status`, with `headers`, and `message` and `code` in OpenAI's body
    "delay",  # answers well after `seconds`
    "stall",  # never answers, until the caller leaves or the server forgets it
    "trickle",  # sends its answer a byte each `seconds`
    "hang_up",  # closes the connection without an answer
    "hang_up_midway",  # closes it after a part of the answer
    "garbage",  # answers 200 with something that is not JSON
    "nothing",  # answers 200 with no body
    "endless",  # answers 200 with a body that has no end
    "short",  # leaves the last vector out
    "long",  # adds a vector that nobody asked for
    "duplicate",  # gives two vectors the same index
    "reversed",  # gives the vectors, each with its right index, in reversed order: as it may
    "cut",  # leaves the last number of each vector out
    "nan",  # one number is none
    "floats",  # answers lists of numbers though base64 was asked for: as some servers do
]

CHUNK = 65536
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Request:
    """A request as it came.

    Attributes:
        headers: By their names in small letters.
        body: What it says, of a POST.
        at: When, in seconds of time.monotonic.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.monotonic)

    @property
    def texts(self) -> list[str]:
        asked = self.body["input"]
        return [asked] if isinstance(asked, str) else asked

    @property
    def key(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Fault:
    """How it errs, and how often it still does; None: for ever."""

    kind: Kind
    times: int | None
    values: dict[str, Any]


def vector_of(text: str, dimensions: int = 8, model: str = "text-embedding-3-small") -> np.ndarray:
    """The vector of length 1 that the stand-in gives a text: float32."""
    seed = hashlib.sha256(f"{model}\n{text}".encode()).digest()
    vector = np.random.default_rng(int.from_bytes(seed)).standard_normal(dimensions)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass
class StandIn:
    """A running stand-in.

    Attributes:
        url: What `providers.NAME.url` must be.
        dimensions: Of its vectors, whatever the model.
        keys: Those that it takes; empty: any, and none.
        models: What `/models` lists.
        models_status: What it answers with; 200 with the list.
        requests: All that came, those to which it did not answer included.
        at_once: Requests for embeddings that are under way.
        most_at_once: The most that there ever were.
        left: How often a caller left while it waited for an answer.
    """

    url: str
    dimensions: int
    keys: Sequence[str] = ()
    models: Sequence[str] = ("text-embedding-3-small", "text-embedding-3-large")
    models_status: int = 200
    requests: list[Request] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    left: int = 0
    _faults: list[Fault] = field(default_factory=list)
    _forgotten: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def behave(self, kind: Kind, times: int | None = None, **values: Any) -> None:
        """Err from now on, after what it was told before; `times` requests long."""
        self._faults.append(Fault(kind, times, values))

    def clear(self) -> None:
        """Answer well from now on; who waits for an answer that never comes is left."""
        with self._lock:
            self._faults.clear()
            self._forgotten.set()
            self._forgotten = threading.Event()

    @property
    def embedded(self) -> list[Request]:
        """The requests for embeddings alone."""
        return [request for request in self.requests if request.path.endswith("/embeddings")]

    def vector_of(self, text: str, model: str = "text-embedding-3-small") -> np.ndarray:
        """What it answers to a text."""
        return vector_of(text, self.dimensions, model)

    def begin(self, request: Request) -> tuple[Fault | None, threading.Event]:
        """Write down a request; say how to err, and what ends a stall."""
        with self._lock:
            self.requests.append(request)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            while self._faults and self._faults[0].times == 0:
                self._faults.pop(0)
            fault = self._faults[0] if self._faults else None
            if fault and fault.times is not None:
                fault.times -= 1
            return fault, self._forgotten

    def end(self, *, left: bool) -> None:
        """A request is answered, or its caller has left."""
        with self._lock:
            self.at_once -= 1
            self.left += left


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    standin: StandIn

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.standin.requests.append(Request("GET", self.path, self._headers()))
        if not self._lets_in():
            self._refuse(401, "Incorrect API key provided", "invalid_api_key")
        elif self.standin.models_status != 200:
            self._refuse(self.standin.models_status, "It went wrong")
        elif self.path.endswith("/models"):
            models = [{"id": name, "object": "model", "owned_by": "x"} for name in self.standin.models]
            self._say(200, _json({"object": "list", "data": models}))
        else:
            self._refuse(404, "Not found")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        request = Request("POST", self.path, self._headers(), body)
        fault, forgotten = self.standin.begin(request)
        left = False
        try:
            left = self._waits(fault, forgotten)
            if not left:
                self._answer(request, fault)
        except OSError:
            left = True
            self.close_connection = True
        finally:
            self.standin.end(left=left)

    def _headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _lets_in(self) -> bool:
        return not self.standin.keys or self._headers().get("authorization", "")[7:] in self.standin.keys

    def _waits(self, fault: Fault | None, forgotten: threading.Event) -> bool:
        """Take the time that it was told to; return whether the caller has left."""
        if fault is None or fault.kind not in ("stall", "delay"):
            return False
        seconds = fault.values.get("seconds", 3600.0) if fault.kind == "delay" else 3600.0
        for _ in range(int(seconds / 0.01)):
            if forgotten.wait(0.01):
                break
            if select.select([self.connection], [], [], 0)[0] and not self._peek():
                self.close_connection = True
                return True
        return False

    def _peek(self) -> bytes:
        with suppress(ConnectionError):
            return self.connection.recv(1, socket.MSG_PEEK)
        return b""

    def _answer(self, request: Request, fault: Fault | None) -> None:
        kind, values = (fault.kind, fault.values) if fault else ("", {})
        match kind:
            case "status":
                self._refuse(**{"message": "It went wrong", **values})
            case "hang_up":
                self.close_connection = True
            case "garbage":
                self._say(200, b"<html>not what you think</html>", {"content-type": "text/html"})
            case "nothing":
                self._say(200, b"")
            case "endless":
                self._say_without_end()
            case _ if not request.path.endswith("/embeddings"):
                self._refuse(404, "Not found")
            case _ if not self._lets_in():
                self._refuse(401, f"Incorrect API key provided: {request.key}", "invalid_api_key")
            case "trickle":
                self._say_slowly(self._embeddings(request, kind), values.get("seconds", 0.05))
            case "hang_up_midway":
                self._say_half(self._embeddings(request, kind))
            case _:
                self._say(200, self._embeddings(request, kind))

    def _embeddings(self, request: Request, kind: str) -> bytes:
        model = request.body["model"]
        floats = kind == "floats" or request.body.get("encoding_format") != "base64"
        vectors = [self.standin.vector_of(text, model) for text in request.texts]
        if kind == "nan":
            vectors[-1][0] = np.nan
        if kind == "cut":
            vectors = [vector[:-1] for vector in vectors]
        data = [
            {"object": "embedding", "index": at, "embedding": _packed(vector, floats=floats)}
            for at, vector in enumerate(vectors)
        ]
        match kind:
            case "short":
                data.pop()
            case "long":
                data.append({**data[-1], "index": len(data)})
            case "duplicate":
                data[-1] = {**data[-1], "index": 0}
            case "reversed":
                data.reverse()
        tokens = sum(map(len, openai_tokens.encode(request.texts)))
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _json({"object": "list", "data": data, "model": model, "usage": usage})

    def _refuse(
        self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        kind = "invalid_request_error" if status < 500 else "server_error"
        error = {"message": message, "type": kind, "param": None, "code": code}
        self._say(status, _json({"error": error}), headers)

    def _say(self, status: int, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self._begin(status, len(body), headers)
        self.wfile.write(body)

    def _begin(self, status: int, length: int | None, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        if length is None:
            self.close_connection = True
        else:
            self.send_header("content-length", str(length))
        self.end_headers()

    def _say_half(self, body: bytes) -> None:
        self._begin(200, len(body))
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True

    def _say_slowly(self, body: bytes, seconds: float) -> None:
        self._begin(200, len(body))
        for at in range(len(body)):
            self.wfile.write(body[at : at + 1])
            time.sleep(seconds)

    def _say_without_end(self) -> None:
        self._begin(200, None)
        while True:
            self.wfile.write(b" " * CHUNK)


def _packed(vector: np.ndarray, *, floats: bool) -> str | list[float]:
    return vector.tolist() if floats else base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Callers may leave as they like; whatever else goes wrong is a fault of the stand-in."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(*_)


@contextmanager
def run_openai(
    dimensions: int = 8, pair: tuple[Path, Path] | None = None, **values: Any
) -> Iterator[StandIn]:
    """Run one until the context ends: `.url`, `.behave(...)`, `.requests`; see `StandIn` for the rest.

    With `pair`, the files of a certificate for `localhost` and of its key, over TLS.
    """
    handler = type("Handler", (_Handler,), {})
    with _Server(("127.0.0.1", 0), handler) as server:
        start = (
            f"https://localhost:{server.server_port}" if pair else f"http://127.0.0.1:{server.server_port}"
        )
        if pair:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*pair)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        standin = StandIn(f"{start}/v1", dimensions, **values)
        handler.standin = standin  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield standin
        finally:
            standin.clear()
            server.shutdown()
            thread.join()
