"""Limits over several servers: each spends on its own, and together they hold what is set.

Four share a SQLite file, four others the stand-in for Convex.
"""

import asyncio
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager

import pytest
from support import pki
from support.convex import run_standin
from support.limited import ask, holds, spend
from support.programs import run_server
from support.trust import bearer, make_key, operate

SERVERS, CALLERS, REQUESTS = 4, 64, 3000
PER_MINUTE, BLOCK = 600, 60


@contextmanager
def run_servers(state, folder, **values):
    """Servers with one store, started at once: all ports are chosen before any of them is taken."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(2 * SERVERS)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        ports = [probe.getsockname()[1] for probe in sockets]

    with ExitStack() as stack, ThreadPoolExecutor(SERVERS) as pool:

        def start(number):
            own = folder / str(number)
            own.mkdir()
            chosen = {"SERVER__PORT": ports[number], "METRICS__PORT": ports[SERVERS + number]}
            return stack.enter_context(run_server(state, own, encoder="fake", **chosen, **values))

        yield list(pool.map(start, range(SERVERS)))


@pytest.fixture(scope="module")
def own_state(tmp_path_factory):
    return pki.make(tmp_path_factory.mktemp("limits"))


@pytest.fixture(scope="module")
def on_sqlite(own_state, tmp_path_factory):
    with run_servers(own_state, tmp_path_factory.mktemp("sqlite")) as running:
        yield running


@pytest.fixture(scope="module")
def on_convex(own_state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("convex")
    with run_standin(folder) as standin:
        (folder / "admin_key").write_text(standin.admin_key)
        store = {"STORE__KIND": "convex", "STORE__URL": standin.url}
        admin_key = f"file:{folder / 'admin_key'}"
        with run_servers(own_state, folder, STORE__ADMIN_KEY=admin_key, **store) as running:
            yield running


@pytest.mark.parametrize("store", ["sqlite", "convex"])
async def test_four_servers_together_hold_a_keys_limit_within_a_block_each(store, request):
    servers = request.getfixturevalue(f"on_{store}")
    made = await operate(servers[0], "keys", "create", "burst", "--requests-per-minute", str(PER_MINUTE))
    metadata = bearer(made.stdout.strip())
    outcomes, left = Counter(), iter(range(REQUESTS))
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(server.channel()) for server in servers]

        async def call():
            for number in left:
                outcomes[(await ask(channels[number % SERVERS], metadata)).code] += 1

        await asyncio.gather(*(call() for _ in range(CALLERS)))
    assert set(outcomes) == {"OK", "RESOURCE_EXHAUSTED"}
    assert outcomes.total() == REQUESTS
    assert PER_MINUTE <= outcomes["OK"] <= PER_MINUTE + SERVERS * BLOCK


async def test_all_callers_of_convex_have_2000_requests_a_minute_together(on_convex):
    made = await operate(on_convex[0], "keys", "create", "another")
    async with on_convex[0].channel() as channel:
        told = (await ask(channel, bearer(made.stdout.strip()))).told
    assert set(told) == {"limit-requests", "remaining-requests", "reset-requests"}
    assert told["limit-requests"] == "2000"


async def test_all_callers_of_servers_with_sqlite_have_what_is_set_together(own_state, tmp_path):
    keys = [bearer(await make_key(own_state, name)) for name in ("one", "two", "three")]
    with run_server(own_state, tmp_path, encoder="fake", RATES__SHARED_REQUESTS_PER_MINUTE=30) as server:
        async with server.channel() as channel:
            passed = [(await ask(channel, key)).code == "OK" for key in keys[:2] for _ in range(10)]
            others, last = await spend(channel, keys[2])
    assert holds(sum(passed) + others, 30)
    assert last.message.startswith("over the limit of all callers together, 30 requests in 60s; try again")
    assert last.told["limit-requests"] == "30"
