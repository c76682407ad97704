"""Work that goes on while a context is open."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

log = structlog.get_logger()

PAUSE_SECONDS = 1.0
"""Before work that has failed begins anew."""

Work = Callable[[], Awaitable[None]]


@asynccontextmanager
async def running(work: Work) -> AsyncIterator[None]:
    """Do something again and again until the context is left; where it fails, the log says why."""
    task = asyncio.create_task(_keep(work))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _keep(work: Work) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("background work failed; it begins anew", work=repr(work))
            await asyncio.sleep(PAUSE_SECONDS)
