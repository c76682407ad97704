"""The replicas of one model: started together, watched, and replaced when they are lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from embedsvc.engine.encoder import EncoderFactory
from embedsvc.engine.launch import Opener, way_to
from embedsvc.engine.replica import Replica, ReplicaError, ReplicaLostError, ReplicaUnusableError, Timing
from embedsvc.engine.worker import Order
from embedsvc.errors import ConfigurationError
from embedsvc.keeping import Ready, keeping
from embedsvc.metrics import EngineMetrics
from embedsvc.types import TokenSequence

log = structlog.get_logger()


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
        revision: Of the weights.
    """

    name: str
    build: EncoderFactory
    devices: Sequence[str]
    warm_up: Sequence[TokenSequence]
    timing: Timing
    doors: Sequence[Path] | None = None
    owner: bool = True
    revision: str = ""

    def ways(self, stack: ExitStack) -> list[Opener]:
        """Say how each replica is come by, for as long as the stack is open.

        Raises:
            ConfigurationError: There can be no door.
        """
        doors: Sequence[Path | None] = self.doors or [None] * len(self.devices)
        orders = [Order(self.build, device, self.warm_up, self.revision) for device in self.devices]
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

    async def live(self, way: Opener, ready: Ready) -> None:
        """Run one replica until it is lost: see `keeping.Life`."""
        async with way() as replica:
            self._check(replica)
            self._join(replica)
            ready()
            try:
                await replica.serve()
            finally:
                self._leave(replica)

    def lost(self, error: BaseException | None) -> None:
        """Before a replica is started again: say why, and send away who waits in vain."""
        if self.spec.owner:
            self._metrics.restarts.inc()
        defect = None if isinstance(error, ReplicaError) else error  # of ours, so that its traceback counts
        log.error("replica lost", model=self.spec.name, reason=str(error), exc_info=defect)
        if not isinstance(error, ReplicaLostError) and not self.replicas:
            self.hopeless = True
            if self._listener:
                self._listener.given_up()

    def _check(self, replica: Replica) -> None:
        """A guest that has read other files than the owner would take vectors for those of another model."""
        if replica.revision != self.spec.revision:
            raise ReplicaUnusableError(
                f"its replicas have revision {replica.revision}, and its files {self.spec.revision}, which "
                "have changed since the service was started: restart it, or put those of before back"
            )

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


@asynccontextmanager
async def open_pool(spec: PoolSpec, metrics: EngineMetrics) -> AsyncIterator[Pool]:
    """Start and keep the replicas of a model while the context is open.

    Raises:
        ConfigurationError: One cannot be started.
    """
    pool = Pool(spec, metrics)
    with ExitStack() as stack:
        lives = [partial(pool.live, way) for way in spec.ways(stack)]
        try:
            async with keeping(lives, pool.lost):
                yield pool
        except ReplicaUnusableError as error:
            raise ConfigurationError(f"the model {spec.name} cannot be used: {error}") from error
