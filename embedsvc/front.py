"""`python -m embedsvc.front`: one of several processes that answer on one port. `supervisor.py` starts it."""

import asyncio
import pickle
import sys

import uvloop

from embedsvc import app, logs, summed
from embedsvc.errors import ConfigurationError
from embedsvc.metrics import Metrics
from embedsvc.signals import die_with_parent, ignore_hang_ups, stop_on_signals
from embedsvc.supervisor import READY, Front

PUBLISH_SECONDS = 1.0
"""How old a gauge may be that is only looked up when asked."""


def main() -> None:
    """Be what standard input says. A mistake in the configuration is one line, and status 2."""
    die_with_parent()
    ignore_hang_ups()
    front: Front = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our parent
    logs.configure(front.settings.log, front.number)
    summed.count_in_files(front.sharing.folder, front.number)
    try:
        uvloop.run(_serve(front))
    except ConfigurationError as error:
        print(f"embedsvc: {error}", file=sys.stderr)
        sys.exit(2)


async def _serve(front: Front) -> None:
    stopping = stop_on_signals()
    metrics = Metrics()
    publishing = asyncio.create_task(_publish(metrics))
    async with app.answering(front.settings, metrics, front.sharing):
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        await stopping.wait()
    publishing.cancel()
    await asyncio.wait([publishing])


async def _publish(metrics: Metrics) -> None:
    while True:
        summed.publish(metrics)
        await asyncio.sleep(PUBLISH_SECONDS)


if __name__ == "__main__":
    main()
