"""The composition root: everything is opened here in order, and closed in reverse."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import structlog

from embedsvc.background import running
from embedsvc.cache.cache import Cache, open_cache
from embedsvc.config import Settings
from embedsvc.embedder import Parts, open_embedder
from embedsvc.engine.engine import open_engine
from embedsvc.engine.sharing import Sharing
from embedsvc.health import report_health
from embedsvc.metrics import Metrics, serve_metrics
from embedsvc.metrics.cost import count_machine
from embedsvc.probes import answer_probes
from embedsvc.providers.opening import open_providers, states
from embedsvc.reload import Hook, Reloader
from embedsvc.routing.models import open_models
from embedsvc.routing.names import check_names
from embedsvc.server import Core, build_server
from embedsvc.signals import hang_ups, stop_on_signals
from embedsvc.trust import CACHE_PASSWORD, Trust, open_trust

log = structlog.get_logger()

SWITCH_SECONDS = 0.0005
"""How long a thread may keep Python to itself. A tokenizer's could keep the event loop waiting for 5 ms."""


async def serve(settings: Settings, read: Callable[[], Settings]) -> None:
    """Run the server until SIGTERM or SIGINT, then drain it. A second signal leaves at once.

    Args:
        settings: How.
        read: Reads them anew, on SIGHUP.

    Raises:
        ConfigurationError: It cannot start as configured.
    """
    stopping, hung_up = stop_on_signals(), hang_ups()
    metrics = Metrics()
    count_machine(metrics.registry, settings.cost)
    with serve_metrics(metrics.registry, settings.metrics):
        async with answering(settings, metrics) as hooks:
            reloader = Reloader(settings, read, hooks, metrics.loading.reloads)
            async with running(partial(reloader.reload_when, hung_up)):
                await stopping.wait()
    log.info("stopped")


@asynccontextmanager
async def answering(
    settings: Settings, metrics: Metrics, sharing: Sharing | None = None
) -> AsyncIterator[Sequence[Hook]]:
    """Answer calls while the context is open, which has who can take a new configuration; leaving drains.

    Args:
        settings: How.
        metrics: Where calls are counted.
        sharing: How replicas are shared with other processes; None: they are not.

    Raises:
        ConfigurationError: It cannot start as configured.
    """
    check_names(settings.remote_models, settings.models)
    sys.setswitchinterval(SWITCH_SECONDS)
    async with AsyncExitStack() as stack:
        # First, so that they can be asked while models load, and until the very end.
        health = await stack.enter_async_context(report_health())
        await stack.enter_async_context(answer_probes(settings.server, health))
        trust = await stack.enter_async_context(open_trust(settings, metrics))
        cache = await stack.enter_async_context(_open_cache(settings, trust, metrics))
        engine = await stack.enter_async_context(open_engine(settings, metrics, sharing))
        remote = await stack.enter_async_context(open_providers(settings, trust.secrets, metrics.providers))
        models = await stack.enter_async_context(open_models(engine, remote, settings, trust.store))
        parts = Parts(models, engine.threads, settings.limits, cache, trust.ledger.add, metrics)
        embedder = await stack.enter_async_context(open_embedder(parts))
        server = build_server(settings, Core(engine, models, embedder, health), trust, metrics)
        # What start-up made stays: no collection has to look at it again.
        gc.collect()
        gc.freeze()
        await server.start()
        await health.follow(engine, partial(states, remote.values()))
        log.info("serving", host=settings.server.host, port=settings.server.port)
        yield [
            Hook(frozenset({"models"}), engine.apply, engine.settle),
            Hook(frozenset({"routes"}), models.apply, check=models.check),
        ]
        log.info("draining", seconds=settings.server.drain_seconds)
        health.draining = True
        await health.update()
        await asyncio.sleep(settings.server.drain_notice_seconds)
        await server.stop(settings.server.drain_seconds)


def _open_cache(
    settings: Settings, trust: Trust, metrics: Metrics
) -> AbstractAsyncContextManager[Cache | None]:
    secret = trust.secrets.get(CACHE_PASSWORD)
    password = (lambda: str(secret.meaning)) if secret else None
    return open_cache(settings.cache, password, metrics.cache, settings.server.processes)
