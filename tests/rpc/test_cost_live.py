"""What a server says of money, as one process and as several: the machine once, tokens of all."""

import asyncio
import tempfile

import pytest
from support.programs import run_server

from embedsvc.prices import LARGE, SMALL, cost
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

CALLS, TIMEOUT = 20, 30
TEXTS = pb.EmbedRequest(inputs=[pb.Input(text=f"text {number}") for number in range(8)])
DOLLARS_A_SECOND = 100.0


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def service(request, state, tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory() as folder:  # Unix sockets need a shorter path than pytest's
        monkeypatch.setenv("TMPDIR", folder)
        values = {"SERVER__PROCESSES": request.param, "COST__USD_PER_HOUR": DOLLARS_A_SECOND * 3600}
        with run_server(state, tmp_path, encoder="fake", **values) as running:
            yield running


async def embed(service, state):
    async with service.channel(**{"grpc.use_local_subchannel_pool": 1}) as channel:
        call = EmbeddingServiceStub(channel).Embed(TEXTS, metadata=state.authorization, timeout=TIMEOUT)
        return (await call).usage.total_tokens


async def test_tokens_of_all_processes_are_worth_what_openai_asks(service, state):
    tokens = sum(await asyncio.gather(*(embed(service, state) for _ in range(CALLS))))
    assert tokens > 0
    for price, name in ((SMALL, "3-small"), (LARGE, "3-large")):
        worth = service.sample(f'embeddings_openai_usd_total{{price="{name}"}}')
        assert worth == pytest.approx(cost(tokens, price))


async def test_the_machine_costs_once_for_as_long_as_it_runs(service):
    loop = asyncio.get_running_loop()
    first, began = service.sample("embeddings_machine_usd_total"), loop.time()
    assert first > 0
    while (grown := service.sample("embeddings_machine_usd_total") - first) < DOLLARS_A_SECOND / 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert grown == pytest.approx(DOLLARS_A_SECOND * (loop.time() - began), rel=0.3)
    assert service.metrics().count("\nembeddings_machine_usd_total ") == 1
