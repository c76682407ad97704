"""The composition root: everything is opened here in order, and closed in reverse."""

import asyncio
import gc
import signal
import sys
from contextlib import AsyncExitStack

import structlog

from embedsvc.config import Settings
from embedsvc.engine.engine import open_engine
from embedsvc.health import report_health
from embedsvc.keys import KeyFile
from embedsvc.metrics import Metrics, serve_metrics
from embedsvc.server import build_server

log = structlog.get_logger()

SWITCH_SECONDS = 0.0005
"""How long a thread may keep Python to itself. A tokenizer's could keep the event loop waiting for 5 ms."""


async def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or SIGINT, then drain it. A second signal leaves at once.

    Raises:
        ConfigurationError: It cannot start as configured.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    stopping = _on_signals()
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        stack.enter_context(serve_metrics(metrics, settings.metrics))
        keys = KeyFile(settings.auth.keys_file)
        keys.load()
        engine = await stack.enter_async_context(open_engine(settings, metrics))
        health = await stack.enter_async_context(report_health(engine))
        server = build_server(settings, engine, metrics, health, keys)
        # What start-up made stays: no collection has to look at it again.
        gc.collect()
        gc.freeze()
        await server.start()
        log.info("serving", host=settings.server.host, port=settings.server.port)
        await stopping.wait()
        log.info("draining", seconds=settings.server.drain_seconds)
        health.draining = True
        await health.update()
        await asyncio.sleep(settings.server.drain_notice_seconds)
        await server.stop(settings.server.drain_seconds)
    log.info("stopped")


def _on_signals() -> asyncio.Event:
    """An event that the first signal sets; the next one has its usual effect."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        stopping.set()
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        loop.add_signal_handler(number, stop)
    return stopping
