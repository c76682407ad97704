"""The listener for internal services: gRPC over mTLS, each call balanced, callers known by certificate."""

import asyncio
import ssl
from collections import Counter
from urllib.parse import quote

import grpc
import httpx
import pytest
from support import pki as files
from support.programs import run_edge, run_server
from support.trust import identities, make_key, rows, until

from embedsvc.dev import pki
from embedsvc.v1 import (
    embedding_pb2,
    embedding_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    openai_pb2,
    openai_pb2_grpc,
)

IDENTITIES = identities(
    {"name": "envoy", "forwards": True},
    {"name": "search", "key": "refused"},
    {"name": "lister", "key": "refused", "calls": ["models"]},
    {"name": "dev-client"},
)
HELLO = embedding_pb2.EmbedRequest(inputs=[embedding_pb2.Input(text="hello")])


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Two servers with a policy, behind an Envoy."""
    folder = tmp_path_factory.mktemp("house")
    state = files.make(folder)
    for name in ("search", "lister", "mallory"):
        files.write(folder, name, pki.make_client(state.ca, name))
    first, second = folder / "1", folder / "2"
    first.mkdir()
    second.mkdir()
    policy = {"AUTH__IDENTITIES": IDENTITIES}
    with (
        run_server(state, first, encoder="fake", **policy) as one,
        run_server(state, second, encoder="fake", **policy) as two,
        run_edge([one, two], state, folder) as edge,
    ):
        yield edge


async def embed(channel, metadata=()):
    return await embedding_pb2_grpc.EmbeddingServiceStub(channel).Embed(HELLO, metadata=metadata)


async def code_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_calls_of_one_connection_find_every_server(house):
    def served():
        return [server.sample('embeddings_requests_total{code="OK",rpc="Embed"}') for server in house.servers]

    before = served()
    async with house.channel("search") as channel:
        await asyncio.gather(*(embed(channel) for _ in range(40)))
    each = [after - earlier for after, earlier in zip(served(), before, strict=True)]
    assert sum(each) == 40
    assert min(each) >= 10


async def test_a_stream_goes_through(house):
    async def requests():
        for number in range(50):
            yield embedding_pb2.EmbedStreamRequest(id=str(number), request=HELLO)

    async with house.channel("search") as channel:
        call = embedding_pb2_grpc.EmbeddingServiceStub(channel).EmbedStream(requests())
        answers = Counter([answer.id async for answer in call])
    assert answers == Counter(str(number) for number in range(50))


async def test_callers_are_who_their_certificates_say(house):
    async with house.channel("lister") as channel:
        await model_pb2_grpc.ModelServiceStub(channel).ListModels(model_pb2.ListModelsRequest())
        assert await code_of(embed(channel)) == grpc.StatusCode.PERMISSION_DENIED
    async with house.channel("mallory") as channel:
        assert await code_of(embed(channel)) == grpc.StatusCode.PERMISSION_DENIED
    async with house.channel("client") as channel:
        assert await code_of(embed(channel)) == grpc.StatusCode.UNAUTHENTICATED
        key = await make_key(house.state, "alice")
        await embed(channel, [("authorization", f"Bearer {key}")])


@pytest.mark.parametrize("client", [None, "stranger"])
async def test_nobody_comes_in_without_a_certificate_of_the_ca(house, client):
    async with house.channel(client) as channel:
        assert await code_of(embed(channel)) == grpc.StatusCode.UNAVAILABLE


def header_of(state, name):
    return f'Hash=00;Cert="{quote(state.read(f"{name}.crt"), safe="")}"'


async def test_nobody_sets_the_header_that_envoy_sets(house):
    forged = [("x-forwarded-client-cert", header_of(house.state, "search"))]
    async with house.channel("mallory") as channel:
        assert await code_of(embed(channel, forged)) == grpc.StatusCode.PERMISSION_DENIED
    async with house.servers[0].channel("mallory") as channel:
        assert await code_of(embed(channel, forged)) == grpc.StatusCode.PERMISSION_DENIED
    async with house.servers[0].channel("lister") as channel:
        assert await code_of(embed(channel, forged)) == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("name", ["search", "client"])
async def test_nor_is_it_let_through_from_callers_of_rest(house, name):
    forged = {"x-forwarded-client-cert": header_of(house.state, name)}
    trust = ssl.create_default_context(cafile=str(house.state.path("ca.crt")))
    async with httpx.AsyncClient(verify=trust, headers=forged) as http:
        for url in (house.url, house.https):
            answer = await http.post(f"{url}/v1/embeddings", json={"model": "all-MiniLM-L6-v2", "input": "a"})
            assert answer.status_code == 401


async def test_answers_in_json_are_for_the_other_listeners(house):
    async with house.channel("search") as channel:
        stub = openai_pb2_grpc.OpenAIServiceStub(channel)
        assert await code_of(stub.GetHealth(openai_pb2.GetHealthRequest())) == grpc.StatusCode.UNIMPLEMENTED


async def test_the_ledger_has_the_caller_and_not_envoy(house):
    def found():
        return [row["identity"] for row in rows(house.state, "requests") if row["request_id"] == "ledger-1"]

    async with house.channel("search") as channel:
        await embed(channel, [("x-request-id", "ledger-1")])
    await until(found)
    assert found() == ["search"]


async def test_the_access_log_names_the_caller_and_never_its_key(house):
    key = await make_key(house.state, "logged")
    async with house.channel("client") as channel:
        await embed(channel, [("authorization", f"bearer  {key}"), ("x-request-id", "grpc-logged-1")])
    await until(lambda: "grpc-logged-1" in house.log.read_text())
    log = house.log.read_text()
    assert key not in log
    assert f'"key":"{key[:12]}"' in log
    assert '"identity":"spiffe://embedsvc.internal/dev-client"' in log
    assert '"grpc_status":"0"' in log
