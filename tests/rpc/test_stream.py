"""EmbeddingService.EmbedStream: many batches over one call."""

import asyncio

import grpc
import pytest
from google.rpc import code_pb2

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

STREAM = "/embedsvc.v1.EmbeddingService/EmbedStream"


@pytest.fixture
def stub(fake_channel):
    return EmbeddingServiceStub(fake_channel)


def item(number, *texts, **fields):
    inputs = [pb.Input(text=text) for text in texts]
    return pb.EmbedStreamRequest(id=str(number), request=pb.EmbedRequest(inputs=inputs, **fields))


async def answers(stub, state, *requests):
    return {
        answer.id: answer async for answer in stub.EmbedStream(iter(requests), metadata=state.authorization)
    }


async def test_every_batch_is_answered_under_its_own_id_as_embed_answers_it(stub, state):
    requests = [item(number, f"text {number}", "and another") for number in range(300)]
    found = await answers(stub, state, *requests)
    assert set(found) == {str(number) for number in range(300)}
    alone = await stub.Embed(requests[7].request, metadata=state.authorization)
    streamed = found["7"].response
    assert [list(one.values) for one in streamed.embeddings] == [list(one.values) for one in alone.embeddings]
    assert streamed.usage == alone.usage


async def test_a_bad_batch_is_answered_with_its_status_and_ends_nothing(stub, state):
    found = await answers(
        stub, state, item("good", "x"), item("empty", ""), item("lost", "x", model="nope"), item("last", "x")
    )
    assert found["good"].response.embeddings == found["last"].response.embeddings
    assert found["empty"].error.code == code_pb2.INVALID_ARGUMENT
    assert found["empty"].error.details
    assert found["lost"].error.code == code_pb2.NOT_FOUND


async def test_an_id_must_be_there_and_short(stub, state):
    found = await answers(stub, state, item("", "x"), item("i" * 129, "x"))
    assert [answer.error.code for answer in found.values()] == [code_pb2.INVALID_ARGUMENT] * 2


async def test_a_message_that_does_not_parse_is_answered_without_an_id(fake_channel, state):
    call = fake_channel.stream_stream(STREAM, response_deserializer=pb.EmbedStreamResponse.FromString)
    good = item("good", "x").SerializeToString()
    found = {
        answer.id: answer async for answer in call(iter([b"\xff\xff", good]), metadata=state.authorization)
    }
    assert found[""].error.code == code_pb2.INVALID_ARGUMENT
    assert found["good"].response.embeddings


async def test_a_slow_reader_slows_its_own_writer_and_loses_nothing(stub, state, fake_server):
    count, long = 8_000, "x" * 1000
    sample = 'embeddings_texts_total{model="all-MiniLM-L6-v2"}'
    before = fake_server.sample(sample)
    call = stub.EmbedStream(metadata=state.authorization)

    async def write():
        for number in range(count):
            await call.write(item(number, long))
        await call.done_writing()

    writing = asyncio.create_task(write())
    done, _ = await asyncio.wait([writing], timeout=5)
    assert not done, "the writer was never held back"
    assert fake_server.sample(sample) - before < count

    ids = [int(answer.id) async for answer in call]
    await writing
    assert sorted(ids) == list(range(count))


async def test_a_reader_that_leaves_ends_its_work(stub, state, fake_server):
    call = stub.EmbedStream(metadata=state.authorization)
    await call.write(item("first", "x"))
    assert (await call.read()).id == "first"
    for number in range(1000):
        await call.write(item(number, "x"))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.read()
    assert (await answers(stub, state, item("next", "x")))["next"].response.embeddings
    assert not [event for event in fake_server.events() if "exception" in event]


async def test_a_stream_needs_a_key(stub):
    call = stub.EmbedStream()  # and nothing is sent: grpc.aio calls a write to what has ended INTERNAL
    assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
