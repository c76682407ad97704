"""Connections to everything that runs, and loops of callers over them."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice

from figures import Figures
from load import Target, Window, closed_loop, open_loop
from over_grpc import open_channel, open_stream, unary
from over_http import fastapi, infinity, open_clients, rest_base64, rest_float
from plan import FASTAPI, GRPC, NULL, REST_BASE64, REST_FLOAT, STREAM, Plan, Served
from processes import Program, cpu_seconds, machine_cpu_seconds
from programs import Programs
from texts import Supply
from ways import Way


@dataclass(frozen=True, slots=True)
class Door:
    """A way in, and the programs that are behind it."""

    way: Way
    programs: Sequence[Program]


@asynccontextmanager
async def open_doors(programs: Programs, callers: int) -> AsyncIterator[Mapping[str, Door]]:
    """Connect to everything that runs."""
    service, null = programs.service, programs.null
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(open_clients(callers))
        channel = await stack.enter_async_context(open_channel(service))
        null_channel = await stack.enter_async_context(open_channel(null))
        stream = await stack.enter_async_context(open_stream(channel, service))
        through_envoy = (service.server, service.envoy)
        yield {
            GRPC: Door(unary(channel, service), (service.server,)),
            STREAM: Door(stream, (service.server,)),
            REST_FLOAT: Door(rest_float(clients, service), through_envoy),
            REST_BASE64: Door(rest_base64(clients, service), through_envoy),
            NULL: Door(unary(null_channel, null), (null.server,)),
            **{
                name: Door((fastapi if name == FASTAPI else infinity)(clients, peer.url), (peer.program,))
                for name, peer in programs.peers.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Loop:
    """What callers do, for how long, and with what texts."""

    served: Served
    plan: Plan
    supply: Supply


async def measure(door: Door, loop: Loop, number: int) -> Figures:
    """Let callers call for the window of a round of a number: the same lengths for every way, and new texts.

    Raises:
        RuntimeError: No call succeeds.
    """
    served, texts = loop.served, loop.supply.texts(loop.served.lengths, seed=number)
    requests = iter(lambda: list(islice(texts, served.texts)), [])
    target = Target(door.way, requests, partial(_spent, door.programs))
    window = Window(loop.plan.settle, loop.plan.window * served.windows)
    if served.rate is None:
        return await closed_loop(target, served.callers, window)
    return await open_loop(target, served.rate, window)


def _spent(programs: Sequence[Program]) -> Mapping[str, float]:
    return {
        "callers": time.process_time(),
        "program": cpu_seconds(programs),
        "machine": machine_cpu_seconds(),
    }
