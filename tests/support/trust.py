"""Callers of every kind: their certificates, keys and signatures, and what became of their calls."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from inspect import isawaitable
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from embedsvc.dev import pki
from embedsvc.keys import token
from embedsvc.store.records import KeyRecord
from embedsvc.store.sqlite.store import open_sqlite
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub
from embedsvc.v1.model_pb2 import ListModelsRequest
from embedsvc.v1.model_pb2_grpc import ModelServiceStub
from support.pki import State
from support.programs import BIN, ROOT, Server

SPIFFE = "spiffe://embedsvc.internal/"
OF_ITS_OWN = ("grpc.use_local_subchannel_pool", 1)
"""A channel's option: a connection that no other channel uses."""
TIMEOUT = 30
KINDS = ("embed", "stream", "models")
TEXT = pb.EmbedRequest(inputs=[pb.Input(text="x")])


FORWARDED, ABROAD = "x-forwarded-for", "203.0.113.9"

WRONG = "emb_" + "A" * 43
"""A key that nobody has."""

ELSEWHERE = (
    "x-api-key",
    "api-key",
    "apikey",
    "cookie",
    "proxy-authorization",
    "x-authorization",
    "x-embedsvc-key",
)
"""Headers in which other services take keys."""

ENVOYS = {
    "x-forwarded-client-cert": "By=spiffe://embedsvc.internal/x;URI=spiffe://embedsvc.internal/envoy",
    "x-forwarded-for": "127.0.0.1",
    "x-real-ip": "127.0.0.1",
    "x-envoy-internal": "true",
    "x-envoy-external-address": "127.0.0.1",
    "x-envoy-peer-metadata-id": "envoy",
    "x-envoy-original-path": "/health",
    "x-original-uri": "/embedsvc.v1.OpenAIService/GetHealth",
    "x-http-method-override": "GetHealth",
    "x-embedsvc-identity": "envoy",
    "x-embedsvc-caller": "tester",
}
"""Headers that only a proxy would send."""

AUTHORIZATIONS = {
    "the key alone": "{key}",
    "no key": "Bearer",
    "no key, with a space": "Bearer ",
    "a space too few": "Bearer{key}",
    "Basic, with the key": "Basic {key}",
    "Basic, with the key as RFC 7617 has it": "Basic {basic}",
    "another scheme": "Token {key}",
    "a scheme before": "Basic Bearer {key}",
    "the scheme twice": "Bearer Bearer {key}",
    "quotes": 'Bearer "{key}"',
    "a letter behind": "Bearer {key}x",
    "a letter before": "Bearer x{key}",
    "padding": "Bearer {key}=",
    "a letter less": "Bearer {short}",
    "words behind": "Bearer {key} or 1=1",
    "two keys": "Bearer {key} {key}",
    "a list": "Bearer {key},{key}",
    "two credentials": "Bearer {key}, Bearer {wrong}",
    "two credentials, the good one last": "Bearer {wrong}, Bearer {key}",
    "other capitals": "Bearer {swapped}",
    "the prefix of keys": "Bearer emb_",
    "what operators see of it": "Bearer {prefix}",
    "the digest": "Bearer {digest}",
    "the digest in a key's form": "Bearer emb_{digest43}",
    "a pattern": "Bearer emb_*",
    "SQL": "Bearer ' OR digest LIKE '%",
    "escaped": "Bearer {escaped}",
}
"""Values of `authorization` that are no key, though they have one in them or something of it."""


def parts_of(key: str) -> dict[str, str]:
    """What the values of AUTHORIZATIONS are made of."""
    digest = token.digest(key)
    return {
        "key": key,
        "wrong": WRONG,
        "basic": base64.b64encode(f"user:{key}".encode()).decode(),
        "short": key[:-1],
        "swapped": key.swapcase(),
        "prefix": token.prefix(key),
        "digest": digest,
        "digest43": digest[:43],
        "escaped": key.replace("_", "%5F"),
    }


def certificate(ca: pki.Identity, *names: str, ends: dt.datetime | None = None) -> pki.Identity:
    """A client's certificate with these names (URIs and DNS names) in its SAN, or without a SAN."""
    made = pki.make_client(ca)
    draft = made.certificate
    builder = x509.CertificateBuilder(
        draft.issuer,
        draft.subject,
        draft.public_key(),
        x509.random_serial_number(),
        draft.not_valid_before_utc - dt.timedelta(days=2),
        ends or draft.not_valid_after_utc,
    )
    for extension in draft.extensions:
        if not isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, extension.critical)
    if names:
        san = x509.SubjectAlternativeName([_general(name) for name in names])
        builder = builder.add_extension(san, critical=False)
    return pki.Identity(builder.sign(ca.key, hashes.SHA256()), made.key)


def _general(name: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(name) if ":" in name else x509.DNSName(name)


def revocation_list(ca: pki.Identity, *revoked: pki.Identity) -> bytes:
    """A list of a CA's, in PEM."""
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateRevocationListBuilder(ca.certificate.subject, now, now + dt.timedelta(days=1))
    for identity in revoked:
        entry = x509.RevokedCertificateBuilder(identity.certificate.serial_number, now).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def connect(server: Server, identity: pki.Identity, interceptors: Sequence[grpc.aio.ClientInterceptor] = ()):
    """A channel that nobody shares, with a certificate."""
    trusted = server.state.read("ca.crt")
    credentials = grpc.ssl_channel_credentials(trusted, identity.key_pem, identity.certificate_pem)
    return grpc.aio.secure_channel(server.address, credentials, [OF_ITS_OWN], interceptors=interceptors)


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


async def call(channel: grpc.aio.Channel, kind: str = "embed", metadata=(), model: str = "") -> object:
    """Make one call of a kind that policies know; return its answer."""
    if kind == "models":
        return await ModelServiceStub(channel).ListModels(
            ListModelsRequest(), metadata=metadata, timeout=TIMEOUT
        )
    request = pb.EmbedRequest(inputs=TEXT.inputs, model=model)
    if kind == "embed":
        return await EmbeddingServiceStub(channel).Embed(request, metadata=metadata, timeout=TIMEOUT)
    # Without a batch: grpc.aio calls a write to what was refused meanwhile INTERNAL.
    stream = EmbeddingServiceStub(channel).EmbedStream(iter(()), metadata=metadata, timeout=TIMEOUT)
    return [answer async for answer in stream]


async def outcome(*arguments, **fields) -> str:
    """What became of a call: the reason of its refusal, or "OK"."""
    return await settled(lambda: call(*arguments, **fields))


async def settled(attempt: Callable[[], Awaitable[object]]) -> str:
    """What becomes of a call at last: a key's first use may be told to come back, on a busy machine."""
    found = ["OVERLOADED"]

    async def settles() -> bool:
        try:
            await attempt()
            found.append("OK")
        except grpc.aio.AioRpcError as error:
            found.append(reason_of(error))
        return found[-1] != "OVERLOADED"

    await until(settles)
    return found[-1]


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Why a call was refused: our own word for it, or gRPC's code where there is none."""
    status = rpc_status.from_call(error)
    return reason(status) if status else error.code().name


def reason(status: status_pb2.Status) -> str:
    """Why a call, or a batch of a stream, was refused."""
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason


async def open_stream(channel: grpc.aio.Channel, metadata=()) -> grpc.aio.StreamStreamCall:
    """A stream that has had one answer and waits for more."""
    opened = EmbeddingServiceStub(channel).EmbedStream(metadata=metadata)
    assert await next_of(opened) == "OK"
    return opened


async def next_of(stream: grpc.aio.StreamStreamCall, model: str = "") -> str:
    """What becomes of one more batch."""
    request = pb.EmbedRequest(inputs=TEXT.inputs, model=model)
    await stream.write(pb.EmbedStreamRequest(id="1", request=request))
    answer = await stream.read()
    return reason(answer.error) if answer.HasField("error") else "OK"


async def until(what: Callable[[], bool | Awaitable[bool]], seconds: float = TIMEOUT) -> None:
    """Wait for what happens in another process."""
    deadline = time.monotonic() + seconds
    while not (await found if isawaitable(found := what()) else found):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


async def make_key(state: State, name: str = "tester", **fields: object) -> str:
    """A key that the store has."""
    key = token.generate()
    record = KeyRecord(token.digest(key), token.prefix(key), name, created_at=time.time(), **fields)
    async with open_sqlite(state.path("embedsvc.db")) as store:
        await store.create_key(record)
    return key


async def operate(
    server: Server, *arguments: str | Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run one of the operator's commands, with the settings of a server."""
    return await asyncio.to_thread(
        subprocess.run,
        [BIN / "embedsvc", *arguments],
        cwd=ROOT,
        env=os.environ | server.environment | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def rows(state: State, table: str) -> list[dict[str, object]]:
    """What the store has."""
    with closing(sqlite3.connect(state.path("embedsvc.db"))) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(f"SELECT * FROM {table}")]


def identities(*policy: dict[str, object]) -> str:
    """A policy, as a value of `EMBEDSVC_AUTH__IDENTITIES`: each identity has the SPIFFE id of its name."""
    return json.dumps([{"match": [SPIFFE + str(one["name"])], **one} for one in policy])


@dataclass
class Siege:
    """Many guesses at keys from an ordinary certificate, and a caller with a good one beside them."""

    server: Server
    guesses: list[str] = field(default_factory=list)
    guessed: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)

    async def guess(self, channel: grpc.aio.Channel, count: int) -> None:
        for number in range(count):
            self.guesses.append(token.generate() if number % 10 else f"{token.generate()}!")
            metadata = (*bearer(self.guesses[-1]), (FORWARDED, ABROAD))
            self.guessed.append(await outcome(channel, "models", metadata))

    async def call_on(self, channel: grpc.aio.Channel, metadata) -> None:
        while True:
            self.answered.append(await outcome(channel, "embed", metadata))
