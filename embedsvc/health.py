"""grpc.health.v1: SERVING while the primary model can answer and the server does not drain."""

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


class HealthReporter:
    """Tells the health service what the engine says.

    Attributes:
        servicer: The health service, for a server.
        draining: Set once, when the server begins to stop.
    """

    def __init__(self, engine: Engine) -> None:
        self.servicer = health.aio.HealthServicer()
        self.draining = False
        self._engine = engine
        self._told: bool | None = None

    @property
    def serving(self) -> bool:
        """Whether requests are answered."""
        return self._engine.primary.ready and not self.draining

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
async def report_health(engine: Engine) -> AsyncIterator[HealthReporter]:
    """Watch the engine while the context is open."""
    reporter = HealthReporter(engine)
    await reporter.update()
    async with running(reporter.watch):
        yield reporter
