"""Two servers behind Envoy, and callers who notice nothing of new certificates, a roll, a killed server."""

import asyncio
import os
import signal
import ssl
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import httpx
import openai
import pytest
from cryptography import x509
from support import pki as files
from support.programs import run_edge, run_server
from support.trust import until

from embedsvc.dev import pki
from embedsvc.v1 import embedding_pb2, embedding_pb2_grpc

CALLERS = 16
PER_CLIENT = 25
"""Requests before a caller comes back with a new connection."""
HELLO = embedding_pb2.EmbedRequest(inputs=[embedding_pb2.Input(text="hello")])


class House:
    """Two servers and an Envoy, of which each server can be stopped and started again."""

    def __init__(self, folder, state):
        self.folder = folder
        self.state = state
        self.running = {}
        self.environments = {}
        self.edge = None

    def start(self, name):
        """Start a server where it was before; returns when it serves."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        before = self.environments.get(name, {})
        ports = {
            key.removeprefix("EMBEDSVC_"): value for key, value in before.items() if key.endswith("__PORT")
        }
        context = run_server(self.state, folder, encoder="fake", SERVER__DRAIN_NOTICE_SECONDS=5, **ports)
        server = context.__enter__()
        self.running[name], self.environments[name] = (context, server), server.environment
        return server

    async def stop(self, name):
        context, _ = self.running.pop(name)
        await asyncio.to_thread(context.__exit__, None, None, None)

    def kill(self, name):
        _, server = self.running.pop(name)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()

    async def sees(self, count):
        """Wait until so many servers are healthy to Envoy."""
        await until(lambda: self.edge.stats("cluster.embedsvc.membership_healthy").popitem()[1] == count, 60)


@pytest.fixture(scope="module")
async def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rolling")
    house = House(folder, files.make(folder))
    servers = await asyncio.gather(*(asyncio.to_thread(house.start, name) for name in ("one", "two")))
    with run_edge(servers, house.state, folder) as house.edge:
        yield house
        for name in list(house.running):
            house.kill(name)  # they have shown how they drain


@dataclass
class Load:
    """16 callers of OpenAI's SDK over HTTPS, and one of gRPC; and what became of their requests."""

    house: House
    retries: int
    answered: int = 0
    failed: Counter = field(default_factory=Counter)
    over: bool = False

    async def call(self, open_client):
        """Ask again and again, now and then over a new connection."""
        while not self.over:
            async with open_client() as ask:
                for _ in range(PER_CLIENT):
                    try:
                        await ask()
                        self.answered += 1
                    except (openai.APIError, grpc.aio.AioRpcError) as error:
                        self.failed[repr(error)] += 1

    @asynccontextmanager
    async def https(self):
        state = self.house.state
        trust = ssl.create_default_context(cafile=str(state.path("trusted.crt")))
        async with openai.AsyncOpenAI(
            base_url=f"{self.house.edge.https}/v1",
            api_key=state.api_key,
            max_retries=self.retries,
            http_client=httpx.AsyncClient(verify=trust),
        ) as client:
            yield lambda: client.embeddings.create(model="all-MiniLM-L6-v2", input="hello")

    @asynccontextmanager
    async def grpc(self):
        async with self.house.edge.channel() as channel:
            stub = embedding_pb2_grpc.EmbeddingServiceStub(channel)
            yield lambda: stub.Embed(HELLO, metadata=self.house.state.authorization)


@asynccontextmanager
async def load(house, retries):
    """Callers, while the context is open. Those of gRPC never try again."""
    seen = Load(house, retries)
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(seen.call(seen.https))
        if not retries:
            group.create_task(seen.call(seen.grpc))
        yield seen
        seen.over = True


async def more(seen, count=200):
    """Wait until so many more requests are answered."""
    goal = seen.answered + count
    await until(lambda: seen.answered >= goal, 60)


def issue(state, ca):
    """Give everybody a new certificate, each file whole from the first moment."""
    for name, identity in pki.make_all(ca).items():
        if name != "ca":
            replace(state, f"{name}.crt", identity.certificate_pem)
            replace(state, f"{name}.key", identity.key_pem)


def replace(state, name, content):
    state.path(f"{name}.new").write_bytes(content)
    state.path(f"{name}.new").replace(state.path(name))


def issuer_of(edge):
    pem = ssl.get_server_certificate(("127.0.0.1", edge.ports["TLS_PORT"]))
    return x509.load_pem_x509_certificate(pem.encode()).issuer.rfc4514_string()


async def test_new_certificates_for_all_and_then_a_roll_lose_no_request(house):
    state, ca = house.state, pki.make_ca("the next CA")
    both = state.read("ca.crt") + ca.certificate_pem
    state.path("trusted.crt").write_bytes(both)
    async with load(house, retries=0) as seen:
        await more(seen)
        for trusted in (both, ca.certificate_pem):
            replace(state, "ca.crt", trusted)
            await more(seen)
            issue(state, ca)
            await until(lambda: issuer_of(house.edge) == "CN=the next CA")
            await more(seen)
        assert seen.failed == {}
        for name in ("one", "two"):  # which Envoy then meets with the new ones alone
            await house.stop(name)
            await more(seen)
            await asyncio.to_thread(house.start, name)
            await house.sees(2)
        await more(seen)
    assert seen.failed == {}


async def test_callers_who_try_again_notice_nothing_of_a_server_that_is_killed(house):
    house.state.path("trusted.crt").write_bytes(house.state.read("ca.crt"))
    async with load(house, retries=2) as seen:
        await more(seen)
        house.kill("one")
        await more(seen, 400)
        await asyncio.to_thread(house.start, "one")
        await house.sees(2)
        await more(seen)
    assert seen.failed == {}
