"""Signs every call of a channel, of grpc and of grpc.aio. Services that call this one import it.

A signing interceptor has to be the last one: what another one changes after it is not what was signed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from embedsvc.signing.canonical import AUTHORIZATION, HEADERS
from embedsvc.signing.signer import Signer

# grpc types them for each shape of a call apart, and in its stubs only; here they are handled alike.
Continuation: TypeAlias = Callable[[Any, Any], Any]
Details: TypeAlias = Any
Request: TypeAlias = Any
Call: TypeAlias = Any
Pairs: TypeAlias = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True)
class SigningInterceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Signs the calls of a grpc channel: `grpc.intercept_channel(channel, SigningInterceptor(signer))`.

    Attributes:
        signer: Who signs.
    """

    signer: Signer

    def intercept_unary_unary(
        self, continuation: Continuation, client_call_details: Details, request: Request
    ) -> Call:
        """See grpc.UnaryUnaryClientInterceptor."""
        return self._send(continuation, client_call_details, request)

    def intercept_unary_stream(
        self, continuation: Continuation, client_call_details: Details, request: Request
    ) -> Call:
        """See grpc.UnaryStreamClientInterceptor."""
        return self._send(continuation, client_call_details, request)

    def intercept_stream_unary(
        self, continuation: Continuation, client_call_details: Details, request_iterator: Request
    ) -> Call:
        """See grpc.StreamUnaryClientInterceptor."""
        return continuation(self._details(client_call_details, b""), request_iterator)

    def intercept_stream_stream(
        self, continuation: Continuation, client_call_details: Details, request_iterator: Request
    ) -> Call:
        """See grpc.StreamStreamClientInterceptor."""
        return continuation(self._details(client_call_details, b""), request_iterator)

    def _send(self, continuation: Continuation, details: Details, request: Request) -> Call:
        own, content = _own(request)
        return continuation(self._details(details, content), own)

    def _details(self, details: Details, content: bytes) -> grpc.ClientCallDetails:
        return _Details(
            details.method,
            details.timeout,
            _signed(self.signer, details, content),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )


def signing_interceptors(signer: Signer) -> list[grpc.aio.ClientInterceptor]:
    """Make what signs the calls of a grpc.aio channel: the last of its `interceptors`.

    There is one for each of the four shapes of a call, since grpc.aio asks each for one shape only.
    """
    return [kind(signer) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]


@dataclass(frozen=True)
class _Details(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: Pairs
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


@dataclass(frozen=True)
class _Aio:
    signer: Signer

    async def _send(self, continuation: Continuation, details: Details, request: Request) -> Call:
        own, content = _own(request)
        return await continuation(self._details(details, content), own)

    async def _open(self, continuation: Continuation, details: Details, requests: Request) -> Call:
        return await continuation(self._details(details, b""), requests)

    def _details(self, details: Details, content: bytes) -> grpc.aio.ClientCallDetails:
        return grpc.aio.ClientCallDetails(
            details.method,
            details.timeout,
            grpc.aio.Metadata(*_signed(self.signer, details, content)),
            details.credentials,
            details.wait_for_ready,
        )


class _UnaryUnary(_Aio, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Continuation, client_call_details: Details, request: Request
    ) -> Call:
        return await self._send(continuation, client_call_details, request)


class _UnaryStream(_Aio, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Continuation, client_call_details: Details, request: Request
    ) -> Call:
        return await self._send(continuation, client_call_details, request)


class _StreamUnary(_Aio, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self,
        continuation: Continuation,
        client_call_details: Details,
        request_iterator: Request,
    ) -> Call:
        return await self._open(continuation, client_call_details, request_iterator)


class _StreamStream(_Aio, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self,
        continuation: Continuation,
        client_call_details: Details,
        request_iterator: Request,
    ) -> Call:
        return await self._open(continuation, client_call_details, request_iterator)


def _own(request: Request) -> tuple[Request, bytes]:
    """Return a request that nobody else can change before gRPC serializes it, and its bytes."""
    if isinstance(request, bytes):
        return request, request
    if not isinstance(request, Message):
        raise TypeError(f"only protobuf messages and bytes can be signed, not {type(request).__name__}")
    own = type(request)()
    own.CopyFrom(request)
    return own, own.SerializeToString()


def _signed(signer: Signer, details: Details, content: bytes) -> Pairs:
    """Return a call's metadata with a signature of its own."""
    sent = [(name, value) for name, value in details.metadata or () if name not in HEADERS]
    keys = [value for name, value in sent if name == AUTHORIZATION]
    if len(keys) > 1:
        raise ValueError(f"a call with {len(keys)} values of {AUTHORIZATION} cannot be signed")
    method = details.method if isinstance(details.method, str) else details.method.decode()
    return (*sent, *signer.sign(method, content, *keys))
