"""The stand-in for a Convex backend, run as a process that can be killed, and made to fail in other ways."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from support.programs import BIN, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_SECONDS = 60
CONTROL_SECONDS = 30


@dataclass
class StandIn:
    """A backend that knows the functions of convex/, and keeps what it acknowledged in a journal.

    Attributes:
        folder: Where its journal and its logs are.
        port: Where it listens; the same after a restart. 0 for any that is free, until it has started.
        control_port: Where it takes faults, which works whatever fault is on.
        admin_key: The key that its functions take.
    """

    folder: Path
    port: int = 0
    control_port: int = 0
    admin_key: str = "convex-self-hosted|stand-in"
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fault(self, kind: str, **details: int) -> None:
        """Make something go wrong, until it is cleared or has happened `times`.

        `refuse` connections; `hang`; answer with `status` (status=503); `delay` (ms=200); or
        `drop-after-commit`: do what a mutation says, and close the connection instead of answering.
        """
        self._control("fault", {"kind": kind, **details})

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._control("fault", None)

    def reset(self) -> None:
        """Forget every row, fault and call."""
        self._control("reset", None)

    def calls(self) -> dict[str, int]:
        """How many requests came, those that met a fault too, by function; and those for /version."""
        return self._control("calls")

    def dump(self, table: str) -> list[dict[str, Any]]:
        """Every row of a table, the oldest first."""
        return self._control(f"dump?{urllib.parse.urlencode({'table': table})}")

    def kill(self) -> None:
        """End it at once, as a crash does."""
        assert self.process, "it does not run"
        self.process.kill()
        self.process.wait()
        self.process = None

    def restart(self) -> None:
        """Start it again on the same port, with what it had acknowledged; killed first where it runs."""
        if self.process:
            self.kill()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        log, ready = self.folder / "standin.log", self.folder / "standin.json"
        variables = {"JOURNAL": self.folder / "journal", "PORT": self.port, "ADMIN_KEY": self.admin_key}
        with log.open("ab") as errors, ready.open("wb") as out:
            self.process = subprocess.Popen(
                [_node(), ROOT / "convex" / "standin" / "main.mjs"],
                env=os.environ | {f"STANDIN_{name}": str(value) for name, value in variables.items()},
                stdout=out,
                stderr=errors,
            )
        _wait_for_line(ready, self.process, log)
        said = json.loads(ready.read_text())
        self.port, self.control_port = said["port"], said["controlPort"]

    def _control(self, page: str, *body: object) -> Any:
        data = json.dumps(body[0]).encode() if body else None
        url = f"http://127.0.0.1:{self.control_port}/__test__/{page}"
        with urllib.request.urlopen(url, data, timeout=CONTROL_SECONDS) as response:
            return json.load(response)


@contextmanager
def run_standin(folder: Path, port: int = 0) -> Iterator[StandIn]:
    """Run the stand-in until the context ends."""
    standin = StandIn(folder, port)
    try:
        standin.start()
        yield standin
    finally:
        if standin.process:
            standin.kill()


@cache
def _node() -> str:
    """Node itself: what the environment has is a script that starts it, and leaves it behind when killed."""
    found = shutil.which("node", path=BIN) or shutil.which("node")
    if not found:
        raise RuntimeError("there is no Node to run the stand-in for Convex with")
    return subprocess.check_output([found, "-p", "process.execPath"], text=True).strip()


def _wait_for_line(file: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not file.read_bytes().endswith(b"\n"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the stand-in for Convex did not start:\n{log.read_text()}")
        time.sleep(0.02)
