"""Several processes on one port: this one owns the replicas, and keeps those that answer.

It answers no call itself. A process that answers (a front) is started anew, never forked, and is a guest of
the replicas: see `engine/sharing.py`.
"""

import asyncio
import pickle
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen

import structlog

from embedsvc import port, summed
from embedsvc.background import running
from embedsvc.config import Settings
from embedsvc.engine.engine import devices_for, open_engine
from embedsvc.engine.sharing import Sharing
from embedsvc.errors import ConfigurationError
from embedsvc.keeping import Ready, keeping
from embedsvc.metrics import Metrics, serve_metrics
from embedsvc.metrics.cost import count_machine
from embedsvc.process import Process, follow
from embedsvc.routing.names import check_names
from embedsvc.signals import hang_ups, stop, stop_on_signals

log = structlog.get_logger()

READY = b"ready\n"
"""What a front writes to standard output when it answers."""

STOP_SECONDS = 10.0
"""What a front gets beyond its drain before it is killed."""


@dataclass(frozen=True, slots=True)
class Front:
    """What a front is to be.

    Attributes:
        number: From 1 on; 0 is the supervisor.
        settings: Its own: of what is bounded for all together, its part.
        sharing: How it comes by the replicas.
    """

    number: int
    settings: Settings
    sharing: Sharing

    @property
    def grace(self) -> float:
        """Seconds that it may take to end after SIGTERM."""
        server, ledger = self.settings.server, self.settings.ledger
        return server.drain_notice_seconds + server.drain_seconds + ledger.drain_seconds + STOP_SECONDS


class FrontEndedError(Exception):
    """A front ended by itself."""


async def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT, then drain it. A second signal leaves at once.

    Raises:
        ConfigurationError: It cannot start as configured.
    """
    check_names(settings.remote_models, settings.models)
    _refuse_elsewhere()
    stopping, hung_up = stop_on_signals(), hang_ups()
    async with AsyncExitStack() as stack, running(partial(_warn_when, hung_up)):
        stack.enter_context(port.hold(settings.server))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="embedsvc-")))
        metrics = Metrics()
        count_machine(metrics.registry, settings.cost)
        stack.enter_context(serve_metrics(summed.add_up(metrics, folder), settings.metrics))
        sharing = Sharing(folder, await devices_for(settings), owner=True)
        await stack.enter_async_context(open_engine(settings, metrics, sharing))
        await stack.enter_async_context(_open_fronts(fronts_of(settings, sharing)))
        log.info("all serve", processes=settings.server.processes)
        await stopping.wait()
    log.info("stopped")


async def _warn_when(hung_up: asyncio.Event) -> None:
    await hung_up.wait()
    hung_up.clear()
    log.warning("no configuration is read anew where server.processes is more than 1: restart the service")


def _refuse_elsewhere() -> None:
    if sys.platform != "linux":
        raise ConfigurationError("server.processes: more than one process on a port needs Linux")


def fronts_of(settings: Settings, sharing: Sharing) -> list[Front]:
    """Say what each front is to be."""
    count = settings.server.processes
    engine = settings.engine.model_copy(
        update={"queue_tokens": max(1, settings.engine.queue_tokens // count)}
    )
    cache = settings.cache.model_copy(update={"memory_bytes": settings.cache.memory_bytes // count})
    part = settings.model_copy(update={"engine": engine, "cache": cache})
    return [Front(number, part, replace(sharing, owner=False)) for number in range(1, count + 1)]


@asynccontextmanager
async def _open_fronts(fronts: Sequence[Front]) -> AsyncIterator[None]:
    """Start fronts, and keep them while the context is open; leaving drains all at once.

    Raises:
        ConfigurationError: One cannot be started.
    """
    try:
        async with keeping([partial(_live, front) for front in fronts], _complain):
            yield
    except FrontEndedError as error:
        raise ConfigurationError(f"server.processes: {error}; its own words are above") from error


async def _live(front: Front, ready: Ready) -> None:
    """Run one front until it ends by itself: see `keeping.Life`."""
    async with _running(front) as process:
        await _ready(process)
        ready()
        status = await process.wait()
    raise FrontEndedError(f"process {front.number} ended, status {status}")


def _complain(error: BaseException | None) -> None:
    log.error("process lost", reason=str(error))


@asynccontextmanager
async def _running(front: Front) -> AsyncIterator[Process]:
    """Run a front, away from the terminal's own signals; leaving drains it."""
    process = await follow(_start(front))
    try:
        yield process
    finally:
        await stop(process, front.grace)
        summed.forget(front.sharing.folder, front.number)


def _start(front: Front) -> Popen[bytes]:
    with tempfile.TemporaryFile() as told:
        pickle.dump(front, told)
        told.seek(0)
        command = [sys.executable, "-m", "embedsvc.front"]
        return Popen(command, stdin=told, stdout=PIPE, start_new_session=True)  # noqa: S603 - ourselves


async def _ready(process: Process) -> None:
    """Wait until a front answers. Raises FrontEndedError."""
    if await process.output.readline() != READY:
        raise FrontEndedError(f"a process ended before it answered, status {await process.wait()}")
