"""The service over gRPC: single calls, and batches over one stream. All callers are on one channel."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

import grpc
import numpy as np
from model import MODEL
from service import Service
from ways import TIMEOUT_SECONDS, BatchError, Vectors, Way

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

UNLIMITED = [("grpc.max_receive_message_length", -1)]


@asynccontextmanager
async def open_channel(service: Service, address: str = "") -> AsyncIterator[grpc.aio.Channel]:
    """Connect with mTLS: to the server itself, or to another address that leads to it."""
    files = (service.folder / name for name in ("ca.crt", "client.key", "client.crt"))
    credentials = grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))
    async with grpc.aio.secure_channel(address or service.grpc, credentials, UNLIMITED) as channel:
        yield channel


def unary(channel: grpc.aio.Channel, service: Service, timeout: float = TIMEOUT_SECONDS) -> Way:
    """`Embed`; with a deadline after so many seconds."""
    stub = EmbeddingServiceStub(channel)

    async def embed(_caller: int, texts: Sequence[str]) -> Vectors:
        response = await stub.Embed(_request(texts), metadata=service.metadata, timeout=timeout)
        return _read(response)

    return embed


@asynccontextmanager
async def open_stream(channel: grpc.aio.Channel, service: Service) -> AsyncIterator[Way]:
    """`EmbedStream`: all callers on one stream, whose answers come in any order."""
    call = EmbeddingServiceStub(channel).EmbedStream(metadata=service.metadata)
    stream = _Stream(call)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(stream.read())
        yield stream.embed
        reading.cancel()
        call.cancel()


class _Stream:
    """One call of `EmbedStream`, and who waits for which of its answers."""

    def __init__(
        self, call: grpc.aio.StreamStreamCall[pb.EmbedStreamRequest, pb.EmbedStreamResponse]
    ) -> None:
        self._call = call
        self._numbers = count()
        self._waiting: dict[str, asyncio.Future[pb.EmbedStreamResponse]] = {}
        self._writing = asyncio.Lock()

    async def embed(self, _caller: int, texts: Sequence[str]) -> Vectors:
        """Send a batch, and wait for the answer of its id."""
        number = str(next(self._numbers))
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        async with self._writing:
            await self._call.write(pb.EmbedStreamRequest(id=number, request=_request(texts)))
        answer = await answered
        if answer.HasField("error"):
            raise BatchError(answer.error.message)
        return _read(answer.response)

    async def read(self) -> None:
        """Hand out answers until the call ends; how it ends is everybody's answer who still waits."""
        try:
            async for answer in self._call:
                self._waiting.pop(answer.id).set_result(answer)
        except grpc.aio.AioRpcError as error:
            for future in self._waiting.values():
                future.set_exception(error)


def _request(texts: Sequence[str]) -> pb.EmbedRequest:
    return pb.EmbedRequest(model=MODEL, inputs=[pb.Input(text=text) for text in texts])


def _read(response: pb.EmbedResponse) -> Vectors:
    return np.array([embedding.values for embedding in response.embeddings], dtype=np.float32)
