"""Builds RPC handlers that parse and serialize by our own rules.

Generated code leaves a message that does not parse to gRPC, which answers INTERNAL with a traceback in
the log; and it cannot send an answer that is serialized already.
"""

import asyncio
from collections.abc import Callable

import grpc
from google.protobuf.message import DecodeError, Message

from embedsvc.errors import EmbedsvcError, InvalidRequestError, RequestTooLargeError
from embedsvc.interceptors.base import Behaviour, Context, Handler, Parsed


def unary_unary(behaviour: Behaviour, request: type[Message], max_bytes: int) -> Handler:
    """A handler of one request that returns its answer: a message, or its bytes."""
    return grpc.unary_unary_rpc_method_handler(_checking(behaviour), _keeper(request, max_bytes), _serialize)


def unary_stream(behaviour: Behaviour, request: type[Message], max_bytes: int) -> Handler:
    """A handler of one request that writes its answers to the context."""
    return grpc.unary_stream_rpc_method_handler(_checking(behaviour), _keeper(request, max_bytes), _serialize)


def stream_stream(behaviour: Behaviour, request: type[Message], max_bytes: int) -> Handler:
    """A handler of many requests, each a message or what is wrong with it, that writes its answers."""
    return grpc.stream_stream_rpc_method_handler(behaviour, _parser(request, max_bytes), _serialize)


async def write(context: Context, response: Message | bytes) -> None:
    """Write one answer of many.

    Raises:
        CancelledError: The caller has left. gRPC fails the write before it cancels the handler.
    """
    try:
        await context.write(response)
    except grpc.aio.InternalError as error:
        raise asyncio.CancelledError from error


def _checking(behaviour: Behaviour) -> Behaviour:
    async def call(parsed: Parsed, context: Context) -> object:
        message, parsed.content = parsed.message, b""  # a megabyte that nobody needs any more
        if isinstance(message, EmbedsvcError):
            raise message
        return await behaviour(message, context)

    return call


def _keeper(message: type[Message], max_bytes: int) -> Callable[[bytes], Parsed]:
    """A deserializer that keeps the bytes, too."""
    parse = _parser(message, max_bytes)
    return lambda data: Parsed(data, parse(data))


def _parser(message: type[Message], max_bytes: int) -> Callable[[bytes], Message | EmbedsvcError]:
    """A deserializer that returns what is wrong, since gRPC would not let it raise."""

    def parse(data: bytes) -> Message | EmbedsvcError:
        if len(data) > max_bytes:
            return RequestTooLargeError(f"the request must be {max_bytes} bytes at most; got {len(data)}")
        try:
            return message.FromString(data)
        except DecodeError:
            return InvalidRequestError(
                f"the message does not parse as {message.DESCRIPTOR.full_name}: malformed protobuf, or "
                "a string that is not UTF-8"
            )

    return parse


def _serialize(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
