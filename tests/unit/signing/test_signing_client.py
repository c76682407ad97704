"""signing.client: what is signed is what is on the wire, for every shape of call, with grpc and grpc.aio."""

import asyncio
import json

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from signed_service import KEY, SERVICE, SHAPES, SIGNER, serving

from embedsvc.signing.canonical import HEADERS, NONCE, SIGNATURE
from embedsvc.signing.client import SigningInterceptor, signing_interceptors
from embedsvc.v1.embedding_pb2 import EmbedRequest, Input, TokenIds
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

REQUEST = EmbedRequest(
    model="all-MiniLM-L6-v2", inputs=[Input(text="Füße, 東京"), Input(token_ids=TokenIds(ids=[7]))]
)
UNARY = f"/{SERVICE}/unary_unary"
WORDS = [b"one", b"two"]
RETRYING = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": SERVICE}],
                "retryPolicy": {
                    "maxAttempts": 2,
                    "initialBackoff": "0.01s",
                    "maxBackoff": "0.01s",
                    "backoffMultiplier": 1,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)


@pytest.fixture
async def service():
    async with serving() as running:
        yield running


@pytest.fixture
async def channel(service):
    async with grpc.aio.insecure_channel(
        service.address, interceptors=signing_interceptors(SIGNER)
    ) as opened:
        yield opened


@pytest.fixture
async def plain(service):
    """A channel that signs nothing."""
    async with grpc.aio.insecure_channel(service.address) as opened:
        yield opened


@pytest.fixture
def blocking(service):
    """A signing channel of the grpc that blocks."""
    with grpc.insecure_channel(service.address) as opened:
        yield grpc.intercept_channel(opened, SigningInterceptor(SIGNER))


async def answers(channel, shape):
    """What a call over grpc.aio is answered with."""
    call = getattr(channel, shape)(f"/{SERVICE}/{shape}")
    call = call(iter(WORDS) if shape.startswith("stream") else WORDS[0], metadata=[KEY])
    return [answer async for answer in call] if shape.endswith("stream") else [await call]


def answers_of_blocking(channel, shape):
    """What a call over grpc is answered with."""
    call = getattr(channel, shape)(f"/{SERVICE}/{shape}")
    answer = call(iter(WORDS) if shape.startswith("stream") else WORDS[0], metadata=[KEY])
    return list(answer) if shape.endswith("stream") else [answer]


EXPECTED = {
    "unary_unary": [b"billing"],
    "unary_stream": [b"billing"],
    "stream_unary": [b"billing one two"],
    "stream_stream": [b"billing", *WORDS],
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_shape_of_call_is_signed_with_grpc_aio(channel, shape):
    assert await answers(channel, shape) == EXPECTED[shape]


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_shape_of_call_is_signed_with_grpc(blocking, shape):
    assert await asyncio.to_thread(answers_of_blocking, blocking, shape) == EXPECTED[shape]


async def test_the_other_ways_to_call_with_grpc_are_signed_too(blocking):
    embed = blocking.unary_unary(UNARY)

    def call():
        answer, _ = embed.with_call(b"x", metadata=[KEY])
        return answer, embed.future(b"x", metadata=[KEY]).result()

    assert await asyncio.to_thread(call) == (b"billing", b"billing")


async def test_a_stream_that_is_written_by_hand_is_signed_when_it_opens(channel):
    call = channel.stream_stream(f"/{SERVICE}/stream_stream")(metadata=[KEY])
    assert await call.read() == b"billing"
    await call.write(b"one")
    assert await call.read() == b"one"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def silent():
    """Requests that never come: grpc.aio reports INTERNAL where a refusal meets a message on its way."""
    await asyncio.Event().wait()
    yield b""


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_call_that_is_not_signed_is_refused(plain, shape):
    call = getattr(plain, shape)(f"/{SERVICE}/{shape}")(silent() if shape.startswith("stream") else b"")
    with pytest.raises(grpc.aio.AioRpcError, match="this call must be signed") as caught:
        await (call.read() if shape.endswith("stream") else call)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def many_keys():
    """A message whose parts have no order of their own."""
    struct = Struct()
    struct.update({f"key {number}": {"x": [number, str(number)]} for number in range(200)})
    return struct


def of_another_version():
    """A request with fields that this version does not know."""
    return EmbedRequest.FromString(
        REQUEST.SerializeToString() + Struct(fields={}).SerializeToString() + b"\xa2\x06\x01x"
    )


MESSAGES = [
    EmbedRequest(),
    REQUEST,
    EmbedRequest(inputs=[Input(text="word " * 10_000)] * 10),
    of_another_version(),
    many_keys(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=["empty", "small", "large", "unknown fields", "maps"])
@pytest.mark.parametrize("compression", list(grpc.Compression))
async def test_what_is_signed_are_the_bytes_on_the_wire(channel, service, message, compression):
    embed = channel.unary_unary(UNARY, request_serializer=type(message).SerializeToString)
    assert await embed(message, compression=compression) == b"billing"
    assert type(message).FromString(service.arrived[0].content) == message


@pytest.mark.parametrize("message", MESSAGES, ids=["empty", "small", "large", "unknown fields", "maps"])
async def test_they_are_with_grpc_too(blocking, message):
    embed = blocking.unary_unary(UNARY, request_serializer=type(message).SerializeToString)
    assert await asyncio.to_thread(embed, message) == b"billing"


class Meddler(grpc.aio.UnaryUnaryClientInterceptor):
    """Changes the request when the call is under way, but before gRPC has serialized it."""

    async def intercept_unary_unary(self, continuation, client_call_details, request):
        call = await continuation(client_call_details, request)
        request.model = "another"
        return call


async def test_a_message_that_is_changed_behind_a_call_is_sent_as_it_was_signed(service):
    interceptors = [Meddler(), *signing_interceptors(SIGNER)]
    async with grpc.aio.insecure_channel(service.address, interceptors=interceptors) as channel:
        request = EmbedRequest(model="first")
        embed = channel.unary_unary(UNARY, request_serializer=EmbedRequest.SerializeToString)
        assert await embed(request) == b"billing"
    assert EmbedRequest.FromString(service.arrived[0].content).model == "first"
    assert request.model == "another"


async def test_generated_stubs_sign(channel, service):
    answer = await EmbeddingServiceStub(channel).Embed(REQUEST, metadata=[KEY])
    assert answer.model == "billing"
    assert service.arrived[0].content == REQUEST.SerializeToString()


async def replay(plain, arrived, *, method=UNARY, content=None, replace=()):
    """Send again what arrived; some of it altered."""
    replaced = dict(replace)
    metadata = [(name, replaced.get(name, value)) for name, value in arrived.metadata if name != "user-agent"]
    embed = plain.unary_unary(method)
    return await embed(arrived.content if content is None else content, metadata=metadata)


@pytest.fixture
async def captured(channel, service):
    """A signed call that was accepted."""
    await channel.unary_unary(UNARY)(b"pay 1", metadata=[KEY])
    return service.arrived[0]


async def test_a_captured_call_works_no_second_time(plain, captured):
    with pytest.raises(grpc.aio.AioRpcError, match="x-embedsvc-nonce was used before") as caught:
        await replay(plain, captured)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "altered",
    [
        {"content": b"pay 9"},
        {"replace": [("authorization", "Bearer emb_of_somebody_else")]},
        {"replace": [("x-embedsvc-nonce", "another_nonce_of_22_ch")]},
        {"replace": [("x-embedsvc-signer", "payroll")]},
    ],
)
async def test_a_captured_call_that_is_altered_is_refused(plain, captured, altered):
    with pytest.raises(grpc.aio.AioRpcError, match="not a signature of this request"):
        await replay(plain, captured, **altered)


async def test_a_captured_signature_works_for_no_other_method(plain, captured):
    with pytest.raises(grpc.aio.AioRpcError, match="not a signature of this request"):
        await replay(plain, captured, method=f"/{SERVICE}/Embed")


async def test_every_call_has_a_nonce_of_its_own(channel, service):
    await asyncio.gather(*(answers(channel, "unary_unary") for _ in range(50)))
    assert len({dict(arrived.metadata)[NONCE] for arrived in service.arrived}) == 50


async def test_other_metadata_goes_along_and_is_not_changed(channel, service):
    given = grpc.aio.Metadata(
        KEY, ("x-request-id", "abc"), ("x-bytes-bin", b"\x00\xff"), (SIGNATURE, "of another call")
    )
    before = list(given)
    await channel.unary_unary(UNARY)(b"", metadata=given)
    arrived = service.arrived[0].metadata
    assert {KEY, ("x-request-id", "abc"), ("x-bytes-bin", b"\x00\xff")} <= set(arrived)
    assert [name for name, _ in arrived if name in HEADERS] == list(HEADERS)
    assert list(given) == before


class AddsKey(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation, client_call_details, request):
        client_call_details.metadata.add(*KEY)
        return await continuation(client_call_details, request)


async def test_a_key_that_an_interceptor_before_adds_is_covered(service, plain):
    interceptors = [AddsKey(), *signing_interceptors(SIGNER)]
    async with grpc.aio.insecure_channel(service.address, interceptors=interceptors) as channel:
        assert await channel.unary_unary(UNARY)(b"") == b"billing"
    assert KEY in service.arrived[0].metadata


async def test_two_keys_cannot_be_signed(channel, service):
    with pytest.raises(ValueError, match="2 values of authorization"):
        await channel.unary_unary(UNARY)(b"", metadata=[KEY, KEY])
    assert not service.arrived


async def test_what_is_neither_a_message_nor_bytes_cannot_be_signed(channel, service):
    with pytest.raises(TypeError, match="not dict"):
        await channel.unary_unary(UNARY, request_serializer=json.dumps)({})
    assert not service.arrived


async def test_a_time_limit_and_waiting_for_the_server_go_along(service):
    async with grpc.aio.insecure_channel("127.0.0.1:1", interceptors=signing_interceptors(SIGNER)) as nowhere:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await nowhere.unary_unary(UNARY)(b"", timeout=0.05, wait_for_ready=True)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_retry_by_grpc_itself_has_the_same_signature_and_is_refused(service):
    """docs/signing.md says so, and to retry above the interceptor."""
    service.failures = 1
    options = [("grpc.service_config", RETRYING)]
    async with grpc.aio.insecure_channel(
        service.address, options=options, interceptors=signing_interceptors(SIGNER)
    ) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="used before"):
            await channel.unary_unary(UNARY)(b"")
    assert len({dict(arrived.metadata)[NONCE] for arrived in service.arrived}) == 1


async def test_a_retry_above_the_interceptor_is_accepted(channel, service):
    service.failures = 1
    embed = channel.unary_unary(UNARY)
    with pytest.raises(grpc.aio.AioRpcError, match="try again"):
        await embed(b"")
    assert await embed(b"") == b"billing"
