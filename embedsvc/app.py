"""The composition root: everything is opened here in order, and closed in reverse."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from embedsvc.config import Settings
from embedsvc.engine.engine import open_engine
from embedsvc.engine.sharing import Sharing
from embedsvc.health import report_health
from embedsvc.metrics import Metrics, serve_metrics
from embedsvc.probes import answer_probes
from embedsvc.server import build_server
from embedsvc.signals import stop_on_signals
from embedsvc.trust import open_trust

log = structlog.get_logger()

SWITCH_SECONDS = 0.0005
"""How long a thread may keep Python to itself. A tokenizer's could keep the event loop waiting for 5 ms."""


async def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT, then drain it. A second signal leaves at once.

    Raises:
        ConfigurationError: It cannot start as configured.
    """
    stopping = stop_on_signals()
    metrics = Metrics()
    with serve_metrics(metrics.registry, settings.metrics):
        async with answering(settings, metrics):
            await stopping.wait()
    log.info("stopped")


@asynccontextmanager
async def answering(
    settings: Settings, metrics: Metrics, sharing: Sharing | None = None
) -> AsyncIterator[None]:
    """Answer calls while the context is open; leaving drains.

    Args:
        settings: How.
        metrics: Where calls are counted.
        sharing: How replicas are shared with other processes; None: they are not.

    Raises:
        ConfigurationError: It cannot start as configured.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    async with AsyncExitStack() as stack:
        # First, so that they can be asked while models load, and until the very end.
        health = await stack.enter_async_context(report_health())
        await stack.enter_async_context(answer_probes(settings.server, health))
        trust = await stack.enter_async_context(open_trust(settings, metrics))
        engine = await stack.enter_async_context(open_engine(settings, metrics, sharing))
        server = build_server(settings, engine, metrics, health, trust)
        # What start-up made stays: no collection has to look at it again.
        gc.collect()
        gc.freeze()
        await server.start()
        await health.follow(engine)
        log.info("serving", host=settings.server.host, port=settings.server.port)
        yield
        log.info("draining", seconds=settings.server.drain_seconds)
        health.draining = True
        await health.update()
        await asyncio.sleep(settings.server.drain_notice_seconds)
        await server.stop(settings.server.drain_seconds)
