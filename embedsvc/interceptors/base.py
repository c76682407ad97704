"""What an interceptor is here: a layer around the behaviour of every RPC, whatever its shape."""

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import grpc
from google.protobuf.message import Message

from embedsvc.errors import EmbedsvcError
from embedsvc.interceptors.call import metadata

if TYPE_CHECKING:  # only the stubs of grpc are generic
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
else:
    Context, Handler = grpc.aio.ServicerContext, grpc.RpcMethodHandler

Behaviour: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
"""Answers one call: what it returns is the answer, of a call that has one."""


@dataclass(slots=True)
class Parsed:
    """A request as it came, and as it was understood.

    Attributes:
        content: Its bytes, which a signature covers.
        message: What they are, or what is wrong with them.
    """

    content: bytes
    message: Message | EmbedsvcError


CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class Layer(ABC):
    """Goes around every call: unary and streamed alike."""

    @abstractmethod
    def wrap(self, method: str, inner: Behaviour) -> Behaviour:
        """Return a behaviour that awaits the inner one; called once for each RPC.

        Args:
            method: The full name of the RPC, such as "/embedsvc.v1.EmbeddingService/Embed".
            inner: What is called next.
        """


class Onion(grpc.aio.ServerInterceptor):
    """All layers as one interceptor: gRPC takes 10 microseconds of every call for each that it knows of.

    Args:
        layers: From the outside in: what a layer does not handle, the one before it sees.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """See grpc.aio.ServerInterceptor."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        known, wrapped = self._wrapped.get(method, (None, None))
        if wrapped is None or known is not handler:
            wrapped = _wrap(handler, method, self._layers)
            self._wrapped[method] = handler, wrapped
        return wrapped


def ended_as(context: Context, error: BaseException | None) -> str:
    """Name the status code that a call ended with.

    Args:
        context: The call.
        error: What its handler raised.
    """
    if isinstance(error, asyncio.CancelledError):
        return "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
    # What the stubs call a StatusCode is an int, or None for a call that nobody has ended yet.
    code = cast("grpc.StatusCode | int | None", context.code())
    return code.name if isinstance(code, grpc.StatusCode) else CODES[code or 0]


def _wrap(handler: Handler, method: str, layers: Sequence[Layer]) -> Handler:
    shape = "_".join(
        "stream" if streamed else "unary"
        for streamed in (handler.request_streaming, handler.response_streaming)
    )
    behaviour = _driven(getattr(handler, shape))
    for layer in reversed(layers):
        behaviour = layer.wrap(method, behaviour)
    build = getattr(grpc, f"{shape}_rpc_method_handler")
    built: Handler = build(_known(behaviour), handler.request_deserializer, handler.response_serializer)
    return built


def _known(inner: Behaviour) -> Behaviour:
    """Read the metadata, once for all."""

    async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - grpc does not type it
        metadata.set(_by_name(tuple(context.invocation_metadata() or ())))
        return await inner(request, context)

    return call


def _by_name(pairs: Sequence[tuple[str, str | bytes]]) -> Mapping[str, str | bytes]:
    """Values of one name become a list with commas (RFC 9110, section 5.3): none of them hides another."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        if isinstance(value, str):
            texts[name].append(value)
    return found | {name: ",".join(values) for name, values in texts.items()}


def _driven(behaviour: Callable[[Any, Context], Any]) -> Behaviour:
    """Await a handler; write out what one that yields does.

    Left to gRPC, a generator whose caller goes away is closed later by the garbage collector, and
    layers would end in another task.
    """

    async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - grpc does not type it
        running = behaviour(request, context)
        if not inspect.isasyncgen(running):
            return await running
        async with aclosing(running):
            async for response in running:
                await context.write(response)
        return None

    return call
