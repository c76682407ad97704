"""A stand-in for HashiCorp Vault, which is no package: the part of its HTTP API that reads KV secrets.

After https://developer.hashicorp.com/vault/api-docs: secret/kv/kv-v2 (read), auth/kubernetes (login), and
its status codes: 403 for a token that is not good, 404 for what is not there, with the metadata of what was
deleted, 503 while it is sealed.
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHEN = "2026-11-25T12:00:00.000000Z"
SECONDS = 10


@dataclass
class Vault:
    """What is in it, and what was asked of it.

    Attributes:
        namespace: The namespace that everything is in; others are empty.
        mounts: The KV engines.
        accounts: Who may log in through Kubernetes, by role: the service account's token.
        tokens: Tokens that are good.
        logins: How often somebody has logged in.
        asked: Every request's method and path.
        sealed: Whether it answers nothing but that.
        garbled: Whether something in between answers for it.
        open: Cleared, requests wait until it is set.
        waiting: Set once a request waits.
    """

    namespace: str | None = None
    mounts: tuple[str, ...] = ("secret",)
    accounts: dict[str, str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    logins: int = 0
    asked: list[str] = field(default_factory=list)
    sealed: bool = False
    garbled: bool = False
    open: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)
    address: str = ""
    _versions: dict[tuple[str, str], list[dict[str, object] | None]] = field(default_factory=dict)

    def put(self, path: str, /, mount: str = "secret", **fields: object) -> None:
        """Write a version of a secret."""
        self._versions.setdefault((mount, path), []).append(fields)

    def delete(self, path: str, mount: str = "secret") -> None:
        """Delete the latest version of a secret."""
        self._versions[mount, path][-1] = None

    def issue(self) -> str:
        """Make a token that is good."""
        token = f"hvs.{secrets.token_urlsafe(18)}"
        self.tokens.add(token)
        return token

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        """Do what a request asks; return the status and the JSON of the answer."""
        self.asked.append(f"{method} {path}")
        if not self.open.is_set():
            self.waiting.set()
            self.open.wait(SECONDS)
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if headers.get("X-Vault-Namespace") != self.namespace:
            return 403, {"errors": ["permission denied"]}
        if method == "POST" and path == "/v1/auth/kubernetes/login":
            return self._log_in(**json.loads(body))
        if headers.get("X-Vault-Token") not in self.tokens:
            return 403, {"errors": ["permission denied"]}
        return self._read(path.removeprefix("/v1/")) if method == "GET" else (405, {"errors": []})

    def _log_in(self, role: str, jwt: str) -> tuple[int, object]:
        if role not in self.accounts:
            return 400, {"errors": [f'invalid role name "{role}"']}
        if self.accounts[role] != jwt:
            return 403, {"errors": ["permission denied"]}
        self.logins += 1
        auth = {"client_token": self.issue(), "policies": ["default"], "lease_duration": 3600}
        return 200, _envelope(auth=auth | {"renewable": True, "token_type": "service"})

    def _read(self, route: str) -> tuple[int, object]:
        mount = next((mount for mount in self.mounts if route.startswith(f"{mount}/data/")), None)
        if mount is None:
            return 404, {"errors": [f'no handler for route "{route}". route entry not found.']}
        versions = self._versions.get((mount, route.removeprefix(f"{mount}/data/")))
        if not versions:
            return 404, {"errors": []}
        latest = versions[-1]
        metadata = {
            "created_time": WHEN,
            "custom_metadata": None,
            "deletion_time": "" if latest is not None else WHEN,
            "destroyed": False,
            "version": len(versions),
        }
        found = _envelope(data={"data": latest, "metadata": metadata})
        return (200 if latest is not None else 404), found


def _envelope(**parts: object) -> dict[str, object]:
    empty = {"data": None, "wrap_info": None, "warnings": None, "auth": None}
    return {"request_id": str(uuid.uuid4()), "lease_id": "", "renewable": False, "lease_duration": 0} | (
        empty | parts
    )


class _Handler(BaseHTTPRequestHandler):
    timeout: ClassVar[float] = SECONDS

    def __init__(self, vault: Vault, *args: object) -> None:
        self._vault = vault
        super().__init__(*args)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = self._vault.answer(self.command, self.path, dict(self.headers), body)
        garbled = self._vault.garbled
        content = b"<html>please log in</html>" if garbled else json.dumps(answer).encode()
        self.send_response(200 if garbled else status)
        self.send_header("Content-Type", "text/html" if garbled else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Requests are in `Vault.asked`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that went away before its answer, or at the handshake, is not a failure of a test."""


@contextmanager
def run_vault(folder: Path | None = None, **settings: object) -> Iterator[Vault]:
    """Run it until the context ends; with TLS where a folder has server.crt and server.key."""
    vault = Vault(**settings)
    vault.open.set()
    server = _Server(("127.0.0.1", 0), partial(_Handler, vault))
    if folder:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    vault.address = f"{'https' if folder else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield vault
    finally:
        vault.open.set()
        server.shutdown()
        server.server_close()
        thread.join()
