"""What holds for every call: deadlines, cancellation, request ids, compression, health, metrics, logs."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1 import model_pb2
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub
from embedsvc.v1.model_pb2_grpc import ModelServiceStub

SECRET = "a text that must never be logged"


@pytest.fixture
def stub(fake_channel):
    return EmbeddingServiceStub(fake_channel)


def request(*texts):
    return pb.EmbedRequest(inputs=[pb.Input(text=text) for text in texts])


async def test_a_deadline_that_has_passed_is_exceeded(stub, state):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Embed(request("x"), metadata=state.authorization, timeout=0)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_deadline_that_passes_under_way_is_exceeded_and_disturbs_nobody(stub, state, fake_server):
    big = request(*["x" * 500] * 2000)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Embed(big, metadata=state.authorization, timeout=0.02)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await stub.Embed(request("x"), metadata=state.authorization)).embeddings
    assert not [event for event in fake_server.events() if "exception" in event]


async def test_a_caller_that_goes_away_leaves_nothing_behind(stub, state, fake_server):
    call = stub.Embed(request(*["x" * 500] * 2000), metadata=state.authorization)
    asyncio.get_running_loop().call_later(0.05, call.cancel)
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await stub.Embed(request("x"), metadata=state.authorization)).embeddings
    assert fake_server.sample('embeddings_queue_tokens{model="all-MiniLM-L6-v2"}') == 0
    assert fake_server.sample("embeddings_admitted_tokens") == 0
    assert not [event for event in fake_server.events() if "exception" in event]


async def test_the_callers_request_id_comes_back_and_is_in_the_log(stub, state, fake_server):
    call = stub.Embed(request("x"), metadata=(*state.authorization, ("x-request-id", "mine-1")))
    await call
    assert dict(await call.trailing_metadata())["x-request-id"] == "mine-1"
    (event,) = (event for event in fake_server.events() if event.get("request_id") == "mine-1")
    assert (event["event"], event["code"], event["key"]) == ("call", "OK", "tester")


async def test_a_request_id_is_made_where_there_is_none_or_a_strange_one(stub, state):
    for metadata in ((), (("x-request-id", 'strange" id'),)):
        call = stub.Embed(request("x"), metadata=(*state.authorization, *metadata))
        await call
        assert len(dict(await call.trailing_metadata())["x-request-id"]) == 36


async def test_neither_texts_nor_keys_are_logged(stub, state, fake_server):
    await stub.Embed(request(SECRET), metadata=state.authorization)
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Embed(request(SECRET, ""), metadata=state.authorization)
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Embed(request("x"), metadata=(("authorization", "Bearer emb_guessed"),))
    logged = fake_server.log.read_text()
    assert SECRET not in logged
    assert state.api_key not in logged
    assert "emb_guessed" not in logged


async def test_health_and_reflection_need_no_key(fake_channel):
    health = health_pb2_grpc.HealthStub(fake_channel)
    for service in ("", "embedsvc.v1.EmbeddingService", "embedsvc.v1.OpenAIService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_models_are_described(channel, state):
    stub = ModelServiceStub(channel)
    (model,) = (await stub.ListModels(model_pb2.ListModelsRequest(), metadata=state.authorization)).models
    assert (model.name, model.dimensions, model.max_tokens) == ("all-MiniLM-L6-v2", 384, 256)
    assert model.state == model_pb2.MODEL_STATE_READY
    assert list(model.devices) == ["cpu"]
    assert "text-embedding-3-small" in model.aliases
    named = model_pb2.GetModelRequest(name="text-embedding-3-small")
    assert (await stub.GetModel(named, metadata=state.authorization)).model == model


async def test_calls_texts_tokens_and_batches_are_counted(stub, state, fake_server):
    names = [
        'embeddings_requests_total{code="OK",rpc="Embed"}',
        'embeddings_requests_total{code="INVALID_ARGUMENT",rpc="Embed"}',
        'embeddings_errors_total{reason="INVALID_REQUEST"}',
        'embeddings_duration_seconds_count{rpc="Embed"}',
        'embeddings_texts_total{model="all-MiniLM-L6-v2"}',
        'embeddings_tokens_total{model="all-MiniLM-L6-v2"}',
        'embeddings_batch_size_sum{model="all-MiniLM-L6-v2"}',
    ]
    before = [fake_server.sample(name) for name in names]
    await stub.Embed(request("abc", "de"), metadata=state.authorization)
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Embed(request(""), metadata=state.authorization)
    after = [fake_server.sample(name) for name in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1, 1, 2, 2, 9, 2]
    assert fake_server.sample('embeddings_model_ready{model="all-MiniLM-L6-v2"}') == 1


async def received_bytes(server, state, *metadata):
    """Bytes that an answer of 500 equal vectors takes on the wire."""
    received = 0

    async def relay(reader, writer, *, count):
        nonlocal received
        while data := await reader.read(65536):
            received += len(data) * count
            writer.write(data)
            await writer.drain()
        writer.close()

    async def accept(reader, writer):
        up = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(relay(reader, up[1], count=False), relay(up[0], writer, count=True))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as relaying:
        address = f"127.0.0.1:{relaying.sockets[0].getsockname()[1]}"
        async with grpc.aio.secure_channel(address, state.credentials()) as channel:
            stub = EmbeddingServiceStub(channel)
            response = await stub.Embed(request(*["x"] * 500), metadata=(*state.authorization, *metadata))
            assert len(response.embeddings) == 500
    return received


async def test_answers_are_compressed_when_the_caller_asks(fake_server, state):
    plain = await received_bytes(fake_server, state)
    small = await received_bytes(fake_server, state, ("x-embedsvc-compression", "gzip"))
    assert plain > 500 * 384 * 4
    assert small < plain / 10


async def test_an_unknown_compression_is_refused(stub, state):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Embed(request("x"), metadata=(*state.authorization, ("x-embedsvc-compression", "zip")))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "gzip" in caught.value.details()


@pytest.mark.parametrize("priority", ["interactive", "bulk"])
async def test_a_caller_says_its_priority(stub, state, priority):
    metadata = [*state.authorization, ("x-embedsvc-priority", priority)]
    assert (await stub.Embed(request("x"), metadata=metadata)).embeddings


async def test_a_priority_that_does_not_exist_is_named(stub, state):
    metadata = [*state.authorization, ("x-embedsvc-priority", "urgent")]
    with pytest.raises(
        grpc.aio.AioRpcError, match="x-embedsvc-priority must be interactive or bulk"
    ) as caught:
        await stub.Embed(request("x"), metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
