"""Keeping processes alive: started together, and what is lost started again after pauses that grow."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before something that is lost is started again: twice as long each time."""

LONG_LIFE = 60.0
"""After so many seconds it has proved itself: the next pause is the first again."""

Ready: TypeAlias = Callable[[], None]
Life: TypeAlias = Callable[[Ready], Awaitable[None]]
"""Starts something, says when it is ready, and raises what it ended by."""

Lost: TypeAlias = Callable[[BaseException | None], None]
"""Is told why something is started again, before it is."""


@asynccontextmanager
async def keeping(lives: Sequence[Life], lost: Lost) -> AsyncIterator[None]:
    """Keep everything alive while the context is open; all is ready when it begins.

    Raises:
        Exception: What the first to fail did, where one cannot be started at first.
    """
    started = [asyncio.get_running_loop().create_future() for _ in lives]
    tasks = [
        asyncio.create_task(_keep(life, lost, first)) for life, first in zip(lives, started, strict=True)
    ]
    try:
        await asyncio.gather(*started)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _keep(life: Life, lost: Lost, started: asyncio.Future[None]) -> None:
    """Keep one alive, until cancelled; `started` is resolved when it is first ready, or failed."""

    def tell(attempt: RetryCallState) -> None:
        lost(attempt.outcome.exception() if attempt.outcome else None)

    retrying = AsyncRetrying(
        retry=retry_if_exception(lambda error: started.done() and isinstance(error, Exception)),
        wait=wait_exponential(FIRST_PAUSE, LONGEST_PAUSE),
        before_sleep=tell,
    )
    try:
        while True:
            await retrying(_live, life, lost, started)
    except Exception as error:  # noqa: BLE001 - who waits for the start tells it
        started.set_exception(error)


async def _live(life: Life, lost: Lost, started: asyncio.Future[None]) -> None:
    """Live once. The end of a long life is no failure to start."""
    clock = asyncio.get_running_loop().time
    began = math.inf

    def ready() -> None:
        nonlocal began
        began = clock()
        if not started.done():
            started.set_result(None)

    try:
        await life(ready)
    except Exception as error:
        if clock() - began < LONG_LIFE:
            raise
        lost(error)
