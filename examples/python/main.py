"""Embeds a batch, then a stream of batches, over mTLS; prints a line of JSON for each answer."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from client import Failure, connect, failure_of, failure_of_call

from embedsvc.v1.embedding_pb2 import EmbedRequest, EmbedResponse, EmbedStreamRequest, Input
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceAsyncStub as Stub

Metadata = tuple[tuple[str, str], ...]

# The second is refused: an input has at least one character.
BATCHES = {"greetings": ["Hello, world", "Guten Tag"], "empty": [""], "animals": ["fox", "🦊"]}


async def embed(stub: Stub, metadata: Metadata, texts: Iterable[str]) -> None:
    """One batch: answered whole, or refused whole. Retries and the deadline are the channel's."""
    try:
        show("Embed", await stub.Embed(batch(texts), metadata=metadata))
    except grpc.aio.AioRpcError as error:
        show("Embed", failure_of_call(error))


async def embed_stream(stub: Stub, metadata: Metadata) -> None:
    """Any number of batches: each answer has the id of its batch, and a bad batch ends nothing else."""
    async for answer in stub.EmbedStream(requests(), metadata=metadata):
        show(answer.id, failure_of(answer.error) if answer.HasField("error") else answer.response)


async def requests() -> AsyncIterator[EmbedStreamRequest]:
    """Is asked for the next batch only when the server has room for it: read your texts from here."""
    for name, texts in BATCHES.items():
        yield EmbedStreamRequest(id=name, request=batch(texts))


def batch(texts: Iterable[str]) -> EmbedRequest:
    """A request for the server's primary model."""
    return EmbedRequest(inputs=[Input(text=text) for text in texts])


def show(what: str, result: EmbedResponse | Failure) -> None:
    """Print vectors, shortened, or what went wrong."""
    if isinstance(result, Failure):
        shown: object = {
            "reason": result.reason,
            "message": result.message,
            "field": result.field,
            "retrySeconds": result.retry_seconds,
        }
    else:
        shown = [[round(value, 4) for value in row.values[:4]] for row in result.embeddings]
    print(json.dumps({what: shown}), flush=True)


async def main() -> None:
    """Call the server that `make run` started, unless told otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="127.0.0.1:50051", help="127.0.0.1:50052 is Envoy")
    parser.add_argument("--certificates", type=Path, default=".run/certs")
    parser.add_argument("--key", type=Path, default=".run/api_key")
    chosen = parser.parse_args()

    metadata = (("authorization", f"Bearer {chosen.key.read_text().strip()}"),)
    async with connect(chosen.target, chosen.certificates) as channel:
        stub = EmbeddingServiceStub(channel)
        await embed(stub, metadata, BATCHES["greetings"])
        await embed(stub, metadata, BATCHES["empty"])
        await embed_stream(stub, metadata)


if __name__ == "__main__":
    asyncio.run(main())
