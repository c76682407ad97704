"""Calls a running server as any other client does: for commands that send it texts."""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import grpc
import numpy as np

from embedsvc.config import Settings, reachable
from embedsvc.errors import ConfigurationError
from embedsvc.operator.bulk import Bulk, Streamed
from embedsvc.operator.replies import pause_of, reason_of, streamed
from embedsvc.types import InputType, Vectors
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

if TYPE_CHECKING:
    from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceAsyncStub as Stub

INPUT_TYPES = {
    InputType.UNSPECIFIED: pb.INPUT_TYPE_UNSPECIFIED,
    InputType.QUERY: pb.INPUT_TYPE_QUERY,
    InputType.DOCUMENT: pb.INPUT_TYPE_DOCUMENT,
}

TEXTS = 32
"""Texts of one request: what fills a GPU, and not what others have to wait for."""

BYTES = 262_144
"""Of the texts of one request, but for a single text: a quarter of what a server takes."""

SECONDS = 60.0
"""How long a call may take."""

NO_STORE = ("cache-control", "no-store")
"""The metadata of a request that must be computed."""

RETRIES = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "backoffMultiplier": 3,
    "maxBackoff": "2s",
    "retryableStatusCodes": ["UNAVAILABLE"],
}
"""A queue that is full for a moment, or a server that restarts, must not end hours of work."""

CALLS = [{"service": "embedsvc.v1.EmbeddingService", "method": "Embed"}]

OPTIONS = [
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": CALLS, "retryPolicy": RETRIES}]})),
    ("grpc.max_receive_message_length", 16 * 2**20),
    ("grpc.enable_http_proxy", 0),  # what is called is a service of one's own
]


class Answer(NamedTuple):
    """What came back for one request's texts.

    Attributes:
        vectors: Float32 of shape [texts that were not refused, dimensions].
        tokens: Tokens that the model read.
        seconds: From sending to the answer.
        model: The model that answered, by its own name.
        refused: Why texts have no vector, by their place in the request; only where one asked for it.
    """

    vectors: Vectors
    tokens: int
    seconds: float
    model: str = ""
    refused: Mapping[int, str] = MappingProxyType({})


class Client:
    """A connection to a server. Open it with `dial`."""

    def __init__(self, server: str, stub: "Stub", api_key: str) -> None:
        self._server = server
        self._stub = stub
        self._metadata = (("authorization", f"Bearer {api_key}"),)

    async def embed(
        self, model: str, texts: Iterable[str], input_type: InputType = InputType.UNSPECIFIED
    ) -> list[Answer]:
        """Embed texts, some at a time and one request after another; answers are in their order.

        Raises:
            ConfigurationError: The server is not reached, or refuses; the message has its reason.
        """
        return [await self._call(request(model, batch, input_type)) for batch in batches(texts)]

    async def compute(self, model: str, texts: Sequence[str], input_type: InputType) -> Answer:
        """Embed one request's texts, and take nothing from a cache; of bad ones each is refused by itself.

        Raises:
            ConfigurationError: The server is not reached, or refuses the request; the message has its reason.
        """
        message = request(model, texts, input_type)
        message.allow_partial = True
        return await self._call(message, NO_STORE)

    async def stream(
        self, model: str, texts: Iterable[str], input_type: InputType
    ) -> AsyncIterator[Streamed]:
        """Embed any number of texts as bulk work, in whatever order; of bad ones each is refused by itself.

        Args:
            model: Which.
            texts: They are taken when the server has room for them.
            input_type: What they are for.

        Raises:
            ConfigurationError: The server is not reached, or refuses the stream; the message has its reason.
        """
        bulk = Bulk(batches(texts))

        async def requests() -> AsyncIterator[pb.EmbedStreamRequest]:
            async for name, some in bulk.requests():
                message = request(model, some, input_type)
                message.allow_partial = True
                yield pb.EmbedStreamRequest(id=name, request=message)

        try:
            async for answer in self._stub.EmbedStream(requests(), metadata=self._metadata):
                if not answer.HasField("error"):
                    bulk.answered(answer.id)
                    yield streamed(answer.response)
                elif not (wait := pause_of(answer.error)) or not bulk.again(answer.id, wait):
                    count = len(bulk.answered(answer.id))
                    yield Streamed(count, refused=[answer.error.message] * count)
        except grpc.aio.AioRpcError as error:
            raise ConfigurationError(f"{self._server}: {reason_of(error)}") from None

    async def _call(self, message: pb.EmbedRequest, *metadata: tuple[str, str]) -> Answer:
        began = time.monotonic()
        try:
            response = await self._stub.Embed(message, metadata=(*self._metadata, *metadata), timeout=SECONDS)
        except grpc.aio.AioRpcError as error:
            raise ConfigurationError(f"{self._server}: {reason_of(error)}") from None
        took = time.monotonic() - began
        found = [item.values for item in response.embeddings if not item.HasField("error")]
        refused = {item.index: item.error.message for item in response.embeddings if item.HasField("error")}
        vectors = np.array(found, dtype=np.float32)
        return Answer(vectors, response.usage.total_tokens, took, response.model, refused)


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """Take where the server is, and what to show it; what is not given fits `make run`."""
    parser.add_argument(
        "--server", metavar="HOST:PORT", help="default: this machine's, where the configuration has it"
    )
    files = {
        "ca": ("ca.crt", "the CA of the server's certificate"),
        "certificate": ("client.crt", "the client certificate"),
        "key-file": ("client.key", "its private key"),
    }
    for flag, (name, what) in files.items():
        place = Path(".run/certs") / name
        parser.add_argument(f"--{flag}", type=Path, default=place, help=f"{what}; default: %(default)s")
    parser.add_argument(
        "--api-key-file",
        type=Path,
        default=Path(".run/api_key"),
        help="a file with an API key; default: %(default)s",
    )


@asynccontextmanager
async def dial(settings: Settings, options: argparse.Namespace) -> AsyncIterator[Client]:
    """Have a connection while the context is open; the first call makes it.

    Args:
        settings: Where this machine's server is.
        options: What `add_connection_arguments` has taken.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    server = options.server or f"{reachable(settings.server.host)}:{settings.server.port}"
    files = (options.ca, options.key_file, options.certificate, options.api_key_file)
    try:
        ca, key, certificate, api_key = await asyncio.to_thread(lambda: [file.read_bytes() for file in files])
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}") from None
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    async with grpc.aio.secure_channel(server, credentials, OPTIONS) as channel:
        yield Client(server, EmbeddingServiceStub(channel), api_key.decode("ascii", "replace").strip())


def batches(texts: Iterable[str]) -> Iterator[Sequence[str]]:
    """Cut texts into what fits into a request; none of them is copied."""
    size = 0
    batch: list[str] = []
    for text in texts:
        length = len(text.encode())
        if batch and (len(batch) == TEXTS or size + length > BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += length
    if batch:
        yield batch


def request(model: str, texts: Iterable[str], input_type: InputType) -> pb.EmbedRequest:
    """Make a request of texts."""
    inputs = [pb.Input(text=text) for text in texts]
    return pb.EmbedRequest(model=model, inputs=inputs, input_type=INPUT_TYPES[input_type])
