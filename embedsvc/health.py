"""grpc.health.v1: SERVING once the server answers, while its primary model can and it does not drain."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from grpc_health.v1 import health, health_pb2

from embedsvc.background import running
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


class HealthReporter:
    """Tells the health service what the engine says.

    Attributes:
        servicer: The health service, for a server.
        draining: Set once, when the server begins to stop.
    """

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        self._engine: Engine | None = None
        self.draining = False
        self._told: bool | None = None

    @property
    def serving(self) -> bool:
        """Whether requests are answered."""
        return not self.draining and self._engine is not None and self._engine.primary.ready

    async def follow(self, engine: Engine) -> None:
        """Go by what an engine says: calls are answered from now on."""
        self._engine = engine
        await self.update()

    async def update(self) -> None:
        """Tell watchers what has changed."""
        if self.serving is self._told:
            return
        self._told = self.serving
        log.info("health", serving=self.serving, draining=self.draining)
        statuses = health_pb2.HealthCheckResponse
        status = statuses.SERVING if self.serving else statuses.NOT_SERVING
        for name in SERVICES:
            await self.servicer.set(name, status)

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
