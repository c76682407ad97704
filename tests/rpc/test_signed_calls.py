"""Signed requests end to end: by two processes of a service that had run before, and was started again."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from support import pki as files
from support.programs import run_server
from support.trust import (
    KINDS,
    SPIFFE,
    TEXT,
    TIMEOUT,
    bearer,
    certificate,
    connect,
    identities,
    make_key,
    next_of,
    open_stream,
    outcome,
    settled,
    until,
)

from embedsvc.signing.canonical import AUTHORIZATION, HEADERS, NONCE, SIGNATURE, SIGNER, TIME
from embedsvc.signing.client import signing_interceptors
from embedsvc.signing.signer import Signer
from embedsvc.v1.model_pb2 import ListModelsRequest

FRONTS = {1, 2}
EMBED = "/embedsvc.v1.EmbeddingService/Embed"
STREAM = "/embedsvc.v1.EmbeddingService/EmbedStream"
LIST = "/embedsvc.v1.ModelService/ListModels"
MESSAGE = TEXT.SerializeToString()
SECRETS = {"billing": b"b" * 32, "orders": b"o" * 32}
POLICY = (
    {"name": "billing", "signed": "required"},
    {"name": "orders"},
    {"name": "unsigned", "key": "optional"},
)


@pytest.fixture(scope="module")
def own_state(tmp_path_factory):
    made = files.make(tmp_path_factory.mktemp("signed"))
    for name, secret in SECRETS.items():
        made.path(name).write_bytes(secret + b"\n")
    return made


@pytest.fixture(scope="module")
def settings(own_state):
    secrets = {name: {"signing_secret": f"file:{own_state.path(name)}"} for name in SECRETS}
    policy = [{**one, **secrets.get(one["name"], {})} for one in POLICY]
    return {"encoder": "fake", "AUTH__IDENTITIES": identities(*policy)}


@pytest.fixture(scope="module")
async def used_before(own_state, settings, tmp_path_factory):
    """The metadata of a call that a server accepted which runs no more."""
    with run_server(own_state, tmp_path_factory.mktemp("before"), **settings) as running:
        async with connect(running, certificate(own_state.ca, SPIFFE + "billing")) as channel:
            metadata = sign(own_state)
            assert await send(channel, metadata) == "OK"
    return metadata


@pytest.fixture(scope="module")
def service(own_state, settings, used_before, tmp_path_factory):
    folder = tmp_path_factory.mktemp("after")
    with run_server(own_state, folder, SERVER__PROCESSES=len(FRONTS), **settings) as running:
        yield running


@pytest.fixture
async def channel(service, own_state):
    """A channel of billing's."""
    async with connect(service, certificate(own_state.ca, SPIFFE + "billing")) as opened:
        yield opened


def signer_of(name, secret=None, clock=time.time):
    return Signer(name, lambda: [secret or SECRETS[name]], clock)


def sign(state, method=EMBED, message=MESSAGE, signer=None, key=None):
    """The metadata of a signed call."""
    authorization = f"Bearer {key or state.api_key}"
    signed = (signer or signer_of("billing")).sign(method, message, authorization)
    return ((AUTHORIZATION, authorization), *signed)


def changed(metadata, **values):
    """The same metadata, one value of it another; None takes it away."""
    found = {**dict(metadata), **values}
    return tuple((name, value) for name, value in found.items() if value is not None)


async def send(channel, metadata, method=EMBED, message=MESSAGE):
    """Send a call as it is, byte for byte; return what became of it."""
    unary = channel.unary_unary(method)
    return await settled(lambda: unary(message, metadata=metadata, timeout=TIMEOUT))


async def test_calls_of_who_must_sign_are_refused_unsigned_and_answered_signed(service, own_state, channel):
    metadata = own_state.authorization
    assert [await outcome(channel, kind, metadata) for kind in KINDS] == ["INVALID_SIGNATURE"] * 3
    signing = signing_interceptors(signer_of("billing"))
    async with connect(service, certificate(own_state.ca, SPIFFE + "billing"), signing) as signed:
        assert [await outcome(signed, kind, metadata) for kind in KINDS] == ["OK"] * 3
        stream = await open_stream(signed, metadata)
        assert [await next_of(stream) for _ in range(3)] == ["OK"] * 3


async def test_a_signature_does_not_stand_for_a_key(own_state, channel):
    signed = signer_of("billing").sign(EMBED, MESSAGE, "")
    assert await send(channel, signed) == "INVALID_API_KEY"
    unknown = "emb_" + "A" * 43
    assert await send(channel, sign(own_state, key=unknown)) == "INVALID_API_KEY"


ALTERED = {
    "another signer": {SIGNER: "orders"},
    "a signer that nobody is": {SIGNER: "nobody"},
    "another time": {TIME: str(int(time.time()) - 60)},
    "another nonce": {NONCE: "A" * 22},
    "another signature": {SIGNATURE: "v1=" + "0" * 64},
    "a signature in capitals": {SIGNATURE: "V1=" + "A" * 64},
    **{f"no {name}": {name: None} for name in HEADERS},
    "no signature at all": dict.fromkeys(HEADERS),
}


@pytest.mark.parametrize("values", ALTERED.values(), ids=ALTERED)
async def test_a_signed_call_whose_metadata_are_altered_is_refused_and_its_own_still_counts(
    own_state, channel, values
):
    metadata = sign(own_state)
    assert await send(channel, changed(metadata, **values)) == "INVALID_SIGNATURE"
    assert await send(channel, metadata) == "OK"


async def test_another_key_another_message_or_another_method_is_not_what_was_signed(own_state, channel):
    metadata = sign(own_state)
    other = bearer(await make_key(own_state))[0][1]
    assert await send(channel, changed(metadata, **{AUTHORIZATION: other})) == "INVALID_SIGNATURE"
    assert await send(channel, changed(metadata, **{AUTHORIZATION: None})) == "INVALID_API_KEY"
    lower = f"bearer {own_state.api_key}"
    assert await send(channel, changed(metadata, **{AUTHORIZATION: lower})) == "INVALID_SIGNATURE"
    for message in (b"", MESSAGE[:-1] + b"y", MESSAGE + b"\xf8\x07\x01"):
        assert await send(channel, metadata, message=message) == "INVALID_SIGNATURE"
    assert await send(channel, metadata, LIST) == "INVALID_SIGNATURE"
    assert await outcome(channel, "stream", metadata) == "INVALID_SIGNATURE"
    assert await send(channel, metadata) == "OK"


async def test_the_signature_of_a_stream_opens_that_stream_alone_and_once(own_state, channel):
    metadata = sign(own_state, STREAM, b"")
    assert await send(channel, metadata, LIST, ListModelsRequest().SerializeToString()) == "INVALID_SIGNATURE"
    assert await send(channel, metadata, message=b"") == "INVALID_SIGNATURE"
    stream = await open_stream(channel, metadata)
    assert await outcome(channel, "stream", metadata) == "INVALID_SIGNATURE"
    assert await next_of(stream) == "OK"


@pytest.mark.parametrize("name", ["orders", "unsigned"])
async def test_a_signer_counts_from_its_own_certificate_alone(service, own_state, name):
    async with connect(service, certificate(own_state.ca, SPIFFE + name)) as channel:
        metadata = sign(own_state)
        assert await send(channel, metadata) == "INVALID_SIGNATURE"
        assert await send(channel, own_state.authorization) == "OK"
    async with connect(service, certificate(own_state.ca, SPIFFE + "billing")) as owner:
        assert await send(owner, metadata) == "OK", "the attempt used nothing up"


async def test_a_signature_that_is_not_needed_is_checked_all_the_same(service, own_state):
    async with connect(service, certificate(own_state.ca, SPIFFE + "orders")) as channel:
        metadata = sign(own_state, signer=signer_of("orders"))
        assert await send(channel, changed(metadata, **{NONCE: "A" * 22})) == "INVALID_SIGNATURE"
        assert await send(channel, metadata) == "OK"
        assert await send(channel, metadata) == "INVALID_SIGNATURE"
    async with connect(service, certificate(own_state.ca, SPIFFE + "unsigned")) as channel:
        unknown = sign(own_state, signer=signer_of("unsigned", b"u" * 32))
        assert await send(channel, unknown) == "INVALID_SIGNATURE"


async def test_another_services_secret_and_another_time_are_refused(own_state, channel):
    for signer in (
        signer_of("billing", SECRETS["orders"]),
        signer_of("billing", clock=lambda: time.time() - 310),
        signer_of("billing", clock=lambda: time.time() + 310),
    ):
        assert await send(channel, sign(own_state, signer=signer)) == "INVALID_SIGNATURE"
    early = signer_of("billing", clock=lambda: time.time() - 290)
    assert await send(channel, sign(own_state, signer=early)) == "OK"


async def test_a_signature_that_was_used_before_a_restart_is_used(channel, used_before):
    assert await send(channel, used_before) == "INVALID_SIGNATURE"


async def test_no_process_of_the_machine_accepts_what_another_one_has(service, own_state):
    async with AsyncExitStack() as stack:
        channels = await channel_to_each(service, own_state, stack)
        for first, second in (channels, channels[::-1]):
            metadata = sign(own_state)
            assert await send(first, metadata) == "OK"
            assert await send(second, metadata) == "INVALID_SIGNATURE"
            assert await send(first, metadata) == "INVALID_SIGNATURE"
        metadata = sign(own_state)
        raced = await asyncio.gather(*(send(channel, metadata) for channel in channels * 20))
        assert sorted(raced) == ["INVALID_SIGNATURE"] * 39 + ["OK"]


async def channel_to_each(service, state, stack):
    """A channel of billing's to each of the two processes."""
    identity, found = certificate(state.ca, SPIFFE + "billing"), {}
    while set(found) != FRONTS:
        channel = await stack.enter_async_context(connect(service, identity))
        metadata = changed(sign(state), **{"x-request-id": f"number-{len(found)}-{id(channel)}"})
        assert await send(channel, metadata) == "OK"
        await until(lambda metadata=metadata: number_of(service, metadata) is not None)
        found[number_of(service, metadata)] = channel
    return list(found.values())


def number_of(service, metadata):
    request_id = dict(metadata)["x-request-id"]
    return next((one["process"] for one in service.events() if one.get("request_id") == request_id), None)
