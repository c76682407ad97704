"""Bad input over gRPC itself: the right status, the right details, and nothing else disturbed."""

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub
from embedsvc.v1.model_pb2 import GetModelRequest
from embedsvc.v1.model_pb2_grpc import ModelServiceStub

EMBED = "/embedsvc.v1.EmbeddingService/Embed"
CODE = grpc.StatusCode


def texts(*values, **fields):
    return pb.EmbedRequest(inputs=[pb.Input(text=value) for value in values], **fields)


def ids(*values, **fields):
    return pb.EmbedRequest(inputs=[pb.Input(token_ids=pb.TokenIds(ids=values))], **fields)


CASES = {
    "no inputs": (texts(), "INVALID_REQUEST", "inputs", "at least one input"),
    "an empty text": (texts("a", ""), "INVALID_REQUEST", "inputs[1]", "empty string"),
    "an input that is not set": (
        pb.EmbedRequest(inputs=[pb.Input()]),
        "INVALID_REQUEST",
        "inputs[0]",
        "must have text or token_ids",
    ),
    "an empty list of ids": (ids(), "INVALID_REQUEST", "inputs[0]", "empty list of token ids"),
    "an id outside the vocabulary": (ids(5, 258), "INVALID_REQUEST", "inputs[0]", "258"),
    "an id outside OpenAI's vocabulary": (
        ids(100300, model="text-embedding-3-small"),
        "INVALID_REQUEST",
        "inputs[0]",
        "cl100k_base",
    ),
    "2,049 inputs": (texts(*["x"] * 2049), "INVALID_REQUEST", "inputs", "2048 inputs at most; got 2049"),
    "a text of 8,193 characters": (
        texts("x" * 8193),
        "INVALID_REQUEST",
        "inputs[0]",
        "8192 characters at most; got 8193",
    ),
    "NUL in a text": (texts("a\x00b"), "INVALID_REQUEST", "inputs[0]", "U+0000"),
    "too many dimensions": (texts("x", dimensions=385), "INVALID_REQUEST", "dimensions", "must be 384"),
    "dimensions of a model that is not cut": (
        texts("x", dimensions=128),
        "INVALID_REQUEST",
        "dimensions",
        "allow_dimensions",
    ),
    "too many tokens, truncation off": (
        texts("x" * 300, truncation=pb.TRUNCATION_NONE),
        "CONTEXT_LENGTH_EXCEEDED",
        "inputs[0]",
        "302 tokens",
    ),
    "an input type that does not exist": (texts("x", input_type=9), "INVALID_REQUEST", "input_type", "9"),
    "a truncation that does not exist": (texts("x", truncation=9), "INVALID_REQUEST", "truncation", "9"),
    "an output type that does not exist": (
        texts("x", output_type=9),
        "INVALID_REQUEST",
        "output_type",
        "9",
    ),
}


@pytest.fixture
def stub(fake_channel):
    return EmbeddingServiceStub(fake_channel)


@pytest.fixture(autouse=True)
async def undisturbed(stub, state, fake_server):
    """After every bad request a good one is answered, and the log holds no traceback."""
    yield
    assert (await stub.Embed(texts("good"), metadata=state.authorization)).embeddings[0].values
    assert not [event for event in fake_server.events() if "exception" in event]


def reason_of(error):
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(error).details[0].Unpack(info)
    assert info.domain == "embedsvc"
    return info.reason


def violation_of(error):
    bad = error_details_pb2.BadRequest()
    assert rpc_status.from_call(error).details[1].Unpack(bad)
    return bad.field_violations[0]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_bad_field_is_named(stub, state, case):
    request_, reason, field, text = case
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Embed(request_, metadata=state.authorization)
    assert caught.value.code() is CODE.INVALID_ARGUMENT
    assert text in caught.value.details()
    assert reason_of(caught.value) == reason
    assert violation_of(caught.value).field == field


async def test_an_unknown_model_is_not_found(stub, state, fake_channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Embed(texts("x", model="nope"), metadata=state.authorization)
    assert caught.value.code() is CODE.NOT_FOUND
    assert reason_of(caught.value) == "MODEL_NOT_FOUND"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ModelServiceStub(fake_channel).GetModel(
            GetModelRequest(name="nope"), metadata=state.authorization
        )
    assert caught.value.code() is CODE.NOT_FOUND


async def test_a_message_over_one_megabyte_is_too_large(stub, state):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Embed(texts(*["x" * 8000] * 132), metadata=state.authorization)
    assert caught.value.code() is CODE.RESOURCE_EXHAUSTED
    assert reason_of(caught.value) == "REQUEST_TOO_LARGE"
    assert "1048576 bytes at most" in caught.value.details()


async def test_a_message_past_the_transports_limit_is_refused_by_grpc(stub, state):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Embed(texts(*["x" * 8000] * 1100), metadata=state.authorization)
    assert caught.value.code() is CODE.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff", b"\x12\x03\x0a\x01\xff", b"\x12\x05\x0a\x03\xed\xa0\x80"],
    ids=["not protobuf", "not UTF-8", "a lone surrogate"],
)
async def test_a_message_that_does_not_parse_is_the_callers_fault(fake_channel, state, data):
    call = fake_channel.unary_unary(EMBED)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(data, metadata=state.authorization)
    assert caught.value.code() is CODE.INVALID_ARGUMENT
    assert "malformed protobuf, or a string that is not UTF-8" in caught.value.details()


@pytest.mark.parametrize(
    "metadata",
    [(), (("authorization", "Bearer emb_wrong"),), (("authorization", "Basic eDp5"),)],
    ids=["no key", "a wrong key", "another scheme"],
)
async def test_no_call_without_a_known_key(fake_channel, metadata):
    for call in (
        lambda: EmbeddingServiceStub(fake_channel).Embed(texts("x"), metadata=metadata),
        lambda: ModelServiceStub(fake_channel).GetModel(GetModelRequest(name="x"), metadata=metadata),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call()
        assert caught.value.code() is CODE.UNAUTHENTICATED
        assert reason_of(caught.value) == "INVALID_API_KEY"


@pytest.mark.parametrize("client", [None, "stranger"], ids=["no certificate", "another CA's"])
async def test_no_connection_without_a_certificate_of_the_ca(fake_server, state, client):
    async with fake_server.channel(client) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await EmbeddingServiceStub(channel).Embed(texts("x"), metadata=state.authorization)
    assert caught.value.code() is CODE.UNAVAILABLE


async def test_an_unknown_method_is_unimplemented(fake_channel, state):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await fake_channel.unary_unary("/embedsvc.v1.EmbeddingService/Nope")(
            b"", metadata=state.authorization
        )
    assert caught.value.code() is CODE.UNIMPLEMENTED
