"""A real Redis, on a free port, that can be hurt."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis import Redis

from support.programs import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

START_SECONDS = 20


@dataclass
class RunningRedis:
    """A redis-server of a test's own, which keeps nothing on disk.

    Attributes:
        port: Where it listens.
        folder: Where its log is.
        options: Its configuration; with `tls-cert-file` it speaks TLS, and nothing else.
    """

    port: int
    folder: Path
    options: Mapping[str, object] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"rediss://localhost:{self.port}/0" if self.tls else f"redis://127.0.0.1:{self.port}/0"

    @property
    def tls(self) -> bool:
        return "tls-cert-file" in self.options

    def start(self) -> None:
        options = {
            **({"port": 0, "tls-port": self.port} if self.tls else {"port": self.port}),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "dir": self.folder,
            "logfile": self.folder / "redis.log",
            **self.options,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Redis did not start:\n{(self.folder / 'redis.log').read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, as a machine that loses power."""
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        """Have it answer nothing, with all connections open."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it, in whatever state it is."""
        if self.process.poll() is None:
            self.go_on()
            self.kill()

    def client(self, **options: object) -> Redis:
        return Redis(port=self.port, **options)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def run_redis(folder: Path, **options: object) -> Iterator[RunningRedis]:
    """Run one until the context ends; options are written with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    redis = RunningRedis(free_port(), folder, named)
    redis.start()
    try:
        yield redis
    finally:
        redis.stop()
