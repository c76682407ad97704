"""grpc.health.v1: SERVING once the server answers, while its primary model can and it does not drain.

Each provider is a service of its own, by what became of the calls to it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias

import structlog
from grpc_health.v1 import health, health_pb2

from embedsvc.background import running
from embedsvc.breaker import State
from embedsvc.engine.engine import Engine

log = structlog.get_logger()

INTERVAL = 1.0
"""Seconds between two looks at the replicas."""

SERVICES = (
    "",
    "embedsvc.v1.EmbeddingService",
    "embedsvc.v1.ModelService",
    "embedsvc.v1.OpenAIService",
)

LIVENESS = "liveness"
"""A service that is SERVING as long as the event loop answers: while models load, and through the drain."""

PROVIDER = "embedsvc.provider.{}"
"""The service of a provider, by its name: SERVING while calls to it go well, or none was made yet. It says
nothing of this server."""

Circuits: TypeAlias = Callable[[], Iterable[tuple[str, State]]]
"""Tells the name of each provider, and the state of its circuit."""


class HealthReporter:
    """Tells the health service what the engine says.

    Attributes:
        servicer: The health service, for a server.
        draining: Set once, when the server begins to stop.
    """

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        self._engine: Engine | None = None
        self._circuits: Circuits = tuple
        self.draining = False
        self._told: dict[str, bool] = {}

    @property
    def serving(self) -> bool:
        """Whether requests are answered."""
        return not self.draining and self._engine is not None and self._engine.primary.ready

    async def follow(self, engine: Engine, circuits: Circuits = tuple) -> None:
        """Go by what an engine says, and the circuits of providers: calls are answered from now on."""
        self._engine = engine
        self._circuits = circuits
        await self.update()

    async def update(self) -> None:
        """Tell watchers what has changed."""
        if self.serving is not self._told.get(""):
            log.info("health", serving=self.serving, draining=self.draining)
        for name in SERVICES:
            await self._tell(name, serving=self.serving)
        for name, state in self._circuits():
            await self._tell(PROVIDER.format(name), serving=state == "closed")

    async def _tell(self, service: str, *, serving: bool) -> None:
        if self._told.get(service) is serving:
            return
        self._told[service] = serving
        statuses = health_pb2.HealthCheckResponse
        await self.servicer.set(service, statuses.SERVING if serving else statuses.NOT_SERVING)

    async def watch(self) -> None:
        """Keep it up to date."""
        while True:
            await self.update()
            await asyncio.sleep(INTERVAL)


@asynccontextmanager
async def report_health() -> AsyncIterator[HealthReporter]:
    """Say how things are while the context is open: NOT_SERVING, until there is an engine to follow."""
    reporter = HealthReporter()
    await reporter.servicer.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
    await reporter.update()
    async with running(reporter.watch):
        yield reporter
