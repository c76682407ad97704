"""The ways in that are compared: each takes a text and returns its vector, read as a caller would read it."""

import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import httpx
import numpy as np
import numpy.typing as npt
import orjson
from programs import MODEL, Addresses

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

Vector = npt.NDArray[np.float32]
Way = Callable[[int, str], Awaitable[Vector]]
"""Embeds a text for the caller of a number."""

BASELINE = "FastAPI"
"""The way that every other is compared with."""

FAILURES = (grpc.aio.AioRpcError, httpx.HTTPError)
"""What a way raises when its call fails."""

TIMEOUT_SECONDS = 60


@asynccontextmanager
async def open_ways(addresses: Addresses, callers: int) -> AsyncIterator[Mapping[str, Way]]:
    """Connect as many callers: over gRPC all on one channel, over HTTP each with a connection of its own."""
    async with AsyncExitStack() as stack:
        channel = grpc.aio.secure_channel(addresses.grpc, _credentials(addresses))
        await stack.enter_async_context(channel)
        clients = [await stack.enter_async_context(client) for client in _http_clients(callers)]
        yield {
            "gRPC": _grpc(channel, addresses),
            "REST float": _rest(clients, addresses, "float", _read_floats),
            "REST base64": _rest(clients, addresses, "base64", _read_base64),
            BASELINE: _fastapi(clients, addresses),
        }


def name_failure(error: BaseException) -> str:
    """Say in a word why a call failed."""
    match error:
        case grpc.aio.AioRpcError():
            return error.code().name
        case httpx.HTTPStatusError():
            return f"HTTP {error.response.status_code}"
        case _:
            return type(error).__name__


def _http_clients(callers: int) -> list[httpx.AsyncClient]:
    """A client for each caller: one shared by 64 spends most of a call on looking for a free connection."""
    unused = ssl.create_default_context()  # one for all, since making it takes longer than all the rest
    return [
        httpx.AsyncClient(verify=unused, timeout=TIMEOUT_SECONDS, trust_env=False) for _ in range(callers)
    ]


def _credentials(addresses: Addresses) -> grpc.ChannelCredentials:
    ca, key, certificate = (
        (addresses.folder / name).read_bytes() for name in ("ca.crt", "client.key", "client.crt")
    )
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _grpc(channel: grpc.aio.Channel, addresses: Addresses) -> Way:
    stub = EmbeddingServiceStub(channel)
    metadata = (("authorization", f"Bearer {addresses.api_key}"),)

    async def embed(_caller: int, text: str) -> Vector:
        request = pb.EmbedRequest(model=MODEL, inputs=[pb.Input(text=text)])
        response = await stub.Embed(request, metadata=metadata, timeout=TIMEOUT_SECONDS)
        return np.array(response.embeddings[0].values, dtype=np.float32)

    return embed


def _rest(
    clients: Sequence[httpx.AsyncClient],
    addresses: Addresses,
    encoding_format: str,
    read: Callable[..., Vector],
) -> Way:
    headers = {"authorization": f"Bearer {addresses.api_key}"}

    async def embed(caller: int, text: str) -> Vector:
        body = {"model": MODEL, "input": text, "encoding_format": encoding_format}
        response = await clients[caller].post(f"{addresses.rest}/v1/embeddings", json=body, headers=headers)
        response.raise_for_status()
        return read(orjson.loads(response.content)["data"][0]["embedding"])

    return embed


def _fastapi(clients: Sequence[httpx.AsyncClient], addresses: Addresses) -> Way:
    async def embed(caller: int, text: str) -> Vector:
        response = await clients[caller].post(f"{addresses.fastapi}/embeddings", json={"text": text})
        response.raise_for_status()
        return _read_floats(orjson.loads(response.content)["embedding"])

    return embed


def _read_floats(numbers: list[float]) -> Vector:
    return np.array(numbers, dtype=np.float32)


def _read_base64(text: str) -> Vector:
    return np.frombuffer(base64.b64decode(text), dtype="<f4")
