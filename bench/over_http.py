"""Ways in over HTTP: the service through Envoy, and the peers. Each caller has a connection of its own."""

import base64
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import numpy as np
import orjson
from model import MODEL
from service import Service
from ways import TIMEOUT_SECONDS, Vectors, Way

Clients = Sequence[httpx.AsyncClient]


@asynccontextmanager
async def open_clients(callers: int) -> AsyncIterator[Clients]:
    """A client for each caller: one shared by 64 spends most of a call on looking for a free connection."""
    unused = ssl.create_default_context()  # one for all, since making it takes longer than all the rest
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                httpx.AsyncClient(verify=unused, timeout=TIMEOUT_SECONDS, trust_env=False)
            )
            for _ in range(callers)
        ]


def rest_float(clients: Clients, service: Service) -> Way:
    """`POST /v1/embeddings`, vectors as JSON arrays."""
    return _openai(clients, f"{service.rest}/v1/embeddings", "float", dict(service.metadata))


def rest_base64(clients: Clients, service: Service) -> Way:
    """The same, vectors as base64, which OpenAI's SDKs ask for by default."""
    return _openai(clients, f"{service.rest}/v1/embeddings", "base64", dict(service.metadata))


def infinity(clients: Clients, url: str) -> Way:
    """Infinity has OpenAI's API too, base64 included."""
    return _openai(clients, f"{url}/embeddings", "base64", {})


def fastapi(clients: Clients, url: str) -> Way:
    """The app in peers/, which has an API of its own."""

    async def embed(caller: int, texts: Sequence[str]) -> Vectors:
        answer = await _post(clients, caller, f"{url}/embeddings", orjson.dumps({"texts": texts}), {})
        return _read_floats(orjson.loads(answer)["embeddings"])

    return embed


def _openai(clients: Clients, url: str, encoding: str, headers: dict[str, str]) -> Way:
    read = read_base64 if encoding == "base64" else _read_floats

    async def embed(caller: int, texts: Sequence[str]) -> Vectors:
        body = orjson.dumps({"model": MODEL, "input": texts, "encoding_format": encoding})
        answer = orjson.loads(await _post(clients, caller, url, body, headers))
        return read([item["embedding"] for item in answer["data"]])

    return embed


async def _post(clients: Clients, caller: int, url: str, body: bytes, headers: dict[str, str]) -> bytes:
    client = clients[caller % len(clients)]  # an open loop has as many callers as there are calls
    response = await client.post(url, content=body, headers={"content-type": "application/json", **headers})
    response.raise_for_status()
    return response.content


def _read_floats(vectors: list[list[float]]) -> Vectors:
    return np.array(vectors, dtype=np.float32)


def read_base64(vectors: list[str]) -> Vectors:
    """Vectors of an answer with `encoding_format` base64, which are little-endian float32."""
    return np.stack([np.frombuffer(base64.b64decode(text), dtype="<f4") for text in vectors])
