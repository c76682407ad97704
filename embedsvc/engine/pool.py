"""The replicas of one model: started together, watched, and replaced when they are lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

from embedsvc.engine.encoder import EncoderFactory
from embedsvc.engine.launch import Opener, way_to
from embedsvc.engine.replica import Replica, ReplicaError, ReplicaLostError, ReplicaUnusableError, Timing
from embedsvc.engine.worker import Order
from embedsvc.errors import ConfigurationError
from embedsvc.metrics import EngineMetrics
from embedsvc.types import TokenSequence

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a lost replica is started again: twice as long each time."""

LONG_LIFE = 60.0
"""After so many seconds a replica has proved itself: the next pause is the first again."""


class Listener(Protocol):
    """Who gives replicas their work."""

    def joined(self, replica: Replica) -> None:
        """A replica is ready."""

    def left(self, replica: Replica) -> None:
        """A replica is lost, and what it had under way has failed."""

    def given_up(self) -> None:
        """No replica works, and none could be started."""


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """What a pool is made of.

    Attributes:
        name: The model.
        build: Makes an encoder for a device.
        devices: One replica for each entry.
        warm_up: A batch that every replica must be able to compute.
        timing: How long anything may take.
        doors: Where each replica lets other processes in; None where they do not share it.
        owner: Whether this process starts and replaces the replicas, or is a guest.
    """

    name: str
    build: EncoderFactory
    devices: Sequence[str]
    warm_up: Sequence[TokenSequence]
    timing: Timing
    doors: Sequence[Path] | None = None
    owner: bool = True

    def ways(self, stack: ExitStack) -> list[Opener]:
        """Say how each replica is come by, for as long as the stack is open.

        Raises:
            ConfigurationError: There can be no door.
        """
        doors: Sequence[Path | None] = self.doors or [None] * len(self.devices)
        orders = [Order(self.build, device, self.warm_up) for device in self.devices]
        return [
            stack.enter_context(way_to(order, self.timing, door, owner=self.owner))
            for order, door in zip(orders, doors, strict=True)
        ]


class Pool:
    """The replicas of one model.

    Attributes:
        spec: What it is made of.
        replicas: Those that work.
        hopeless: None works, and none could be started when it was last tried.
        dimensions: The length of their vectors; 0 before the first has worked.
        padded: See `Encoder.padded`.
    """

    def __init__(self, spec: PoolSpec, metrics: EngineMetrics) -> None:
        self.spec = spec
        self.replicas: list[Replica] = []
        self.hopeless = False
        self.dimensions = 0
        self.padded = False
        self._metrics = metrics
        self._listener: Listener | None = None

    def listen(self, listener: Listener) -> None:
        """Tell someone of every replica, those that work already included."""
        self._listener = listener
        for replica in self.replicas:
            listener.joined(replica)

    async def probe(self) -> None:
        """Have every idle replica embed a short text. One that fails it, or hangs over it, is lost."""
        await asyncio.gather(*(self._probe(replica) for replica in self.replicas if replica.idle))

    async def _probe(self, replica: Replica) -> None:
        try:
            await replica.probe()
        except ReplicaError as error:
            log.warning("probe failed", model=self.spec.name, device=replica.device, reason=str(error))

    async def keep(self, way: Opener, started: asyncio.Future[None]) -> None:
        """Keep one replica, until cancelled.

        Args:
            way: How it is come by.
            started: Resolved when the first one is ready, or failed if it cannot be.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: started.done() and isinstance(error, Exception)),
            wait=wait_exponential(FIRST_PAUSE, LONGEST_PAUSE),
            before_sleep=self._report,
        )
        try:
            while True:
                await retrying(self._live, way, started)
        except Exception as error:  # noqa: BLE001 - who waits for the start tells it
            started.set_exception(error)

    async def _live(self, way: Opener, started: asyncio.Future[None]) -> None:
        """Run one replica until it is lost. After a long life that is no failure to start."""
        clock = asyncio.get_running_loop().time
        async with way() as replica:
            began = clock()
            self._join(replica)
            if not started.done():
                started.set_result(None)
            try:
                await replica.serve()
            except ReplicaLostError as error:
                if clock() - began < LONG_LIFE:
                    raise
                self._count(error)
            finally:
                self._leave(replica)

    def _join(self, replica: Replica) -> None:
        self.dimensions, self.padded = replica.dimensions, replica.padded
        self.replicas.append(replica)
        self.hopeless = False
        log.info("replica ready", model=self.spec.name, device=replica.device)
        if self._listener:
            self._listener.joined(replica)

    def _leave(self, replica: Replica) -> None:
        self.replicas.remove(replica)
        if self._listener:
            self._listener.left(replica)

    def _report(self, attempt: RetryCallState) -> None:
        """Before the next attempt: say why there is one, and send away who waits in vain."""
        error = attempt.outcome.exception() if attempt.outcome else None
        self._count(error)
        if not isinstance(error, ReplicaLostError) and not self.replicas:
            self.hopeless = True
            if self._listener:
                self._listener.given_up()

    def _count(self, error: BaseException | None) -> None:
        if self.spec.owner:
            self._metrics.restarts.inc()
        log.error("replica lost", model=self.spec.name, reason=str(error))


@asynccontextmanager
async def open_pool(spec: PoolSpec, metrics: EngineMetrics) -> AsyncIterator[Pool]:
    """Start and keep the replicas of a model while the context is open.

    Raises:
        ConfigurationError: One cannot be started.
    """
    pool = Pool(spec, metrics)
    loop = asyncio.get_running_loop()
    started = [loop.create_future() for _ in spec.devices]
    with ExitStack() as stack:
        keeping = [
            asyncio.create_task(pool.keep(way, first))
            for way, first in zip(spec.ways(stack), started, strict=True)
        ]
        try:
            await asyncio.gather(*started)
            yield pool
        except ReplicaUnusableError as error:
            raise ConfigurationError(f"the model {spec.name} cannot be used: {error}") from error
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.wait(keeping)
