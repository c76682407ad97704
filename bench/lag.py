"""The service with a probe in its event loop, which writes down how long the loop was held up.

`python -c "from lag import serve; serve()"` is `embedsvc serve` with it.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from embedsvc import app, cli
from embedsvc.background import running
from embedsvc.config import Settings

GAPS = "BENCH_GAPS_FILE"
"""The variable that names the file that gaps go to: a line for each, when it ended and how long it was."""

EVERY = 0.002
"""Seconds that the probe sleeps; uvloop's own clock has milliseconds."""

WORTH = 0.002
"""Seconds of the shortest gap that is written down."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which nothing in the event loop got its turn.

    Attributes:
        ended: When, on the clock of `time.monotonic`, which all processes of a machine share.
        seconds: How long it was.
    """

    ended: float
    seconds: float


def read_gaps(file: Path) -> list[Gap]:
    """Read what a probe has written; a last line that is not whole is left for later."""
    lines = file.read_text().splitlines(keepends=True)
    return [Gap(*map(float, line.split())) for line in lines if line.endswith("\n")]


def serve() -> None:
    """Serve."""
    plain = app.serve

    with Path(os.environ[GAPS]).open("w", buffering=1) as file:

        async def probed(settings: Settings, read: Callable[[], Settings]) -> None:
            async with running(partial(_probe, file)):
                await plain(settings, read)

        app.serve = probed
        sys.exit(cli.run(["serve"]))


async def _probe(file: TextIO) -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(EVERY)
        now = time.monotonic()
        if (gap := now - before - EVERY) >= WORTH:
            file.write(f"{now} {gap}\n")
