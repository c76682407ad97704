"""Calls functions over Convex's HTTP API (https://docs.convex.dev/http-api).

Not by the `convex` package: its WebSocket holds the interpreter, and its HTTP client has no time-out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx
import orjson

from embedsvc.breaker import Breaker
from embedsvc.store.protocols import StoreAwayError, StoreError, StoreRefusedError

CALL_SECONDS = 5.0
CONNECT_SECONDS = 1.0
CONNECTIONS = 8

MOST_BYTES = 4 * 2**20
"""Of an answer: one of 500 keys has a tenth of it, and reading more would hold the event loop up."""

MOST_SHOWN = 200
"""Bytes of an answer that are shown."""

OK = 200
MISSING = "Could not find"
"""How the message begins of a function that is not deployed, or not to be seen with this key."""

Json = Any
"""What is in a message; `wire.py` gives it types."""


class ConvexClient:
    """Calls functions as an administrator, who alone may call internal ones. Open it with `open_client`."""

    def __init__(self, http: httpx.AsyncClient, admin_key: Callable[[], str]) -> None:
        self._http = http
        self._admin_key = admin_key
        self._breaker = Breaker()

    async def query(self, path: str, arguments: Mapping[str, Json]) -> Json:
        """Call a query, such as "embeddings:lookupKeys". Raises StoreError."""
        return await self._call("query", path, arguments)

    async def mutate(self, path: str, arguments: Mapping[str, Json]) -> Json:
        """Call a mutation. Raises StoreError."""
        return await self._call("mutation", path, arguments)

    async def _call(
        self, kind: Literal["query", "mutation"], path: str, arguments: Mapping[str, Json]
    ) -> Json:
        body = orjson.dumps({"path": path, "args": arguments, "format": "json"})
        answer = _read(await self._guarded(f"/api/{kind}", body))
        if answer.get("status") == "success":
            return answer.get("value")
        raise _failure(path, answer)

    async def _guarded(self, path: str, body: bytes) -> bytes:
        """Post something where the breaker lets it; what is not 200 has failed."""
        call = self._breaker.allows()
        if not call:
            raise StoreAwayError("Convex failed before, and is left alone for a moment")
        headers = {"Authorization": f"Convex {self._admin_key()}", "Content-Type": "application/json"}
        posting = self._http.stream("POST", path, content=body, headers=headers)
        try:
            async with asyncio.timeout(CALL_SECONDS), posting as response:
                content = await _content_of(response)
        except StoreAwayError:
            self._breaker.failed(call)
            raise
        except Exception as error:
            self._breaker.failed(call)
            raise StoreAwayError(f"Convex does not answer: {error!r}") from error
        except BaseException:
            self._breaker.abandoned(call)
            raise
        self._breaker.succeeded(call)
        return content


def parse_admin_key(content: bytes) -> str:
    """Read an admin key. Raises ValueError where it is not a word, which a header could not hold."""
    key = content.decode("ascii", errors="replace").strip()
    if not (key.isascii() and key.isprintable() and key and " " not in key):
        raise ValueError("it is not a key: one word of ASCII")
    return key


async def _content_of(response: httpx.Response) -> bytes:
    """Read an answer to its end, or to where it is too long to be one."""
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > MOST_BYTES:
            raise StoreAwayError(f"what answers is not Convex: it sends more than {MOST_BYTES} bytes")
    if response.status_code != OK:
        # A key that it does not take is no reason to drop rows: somebody will mend it.
        told = content[:MOST_SHOWN].decode(errors="replace")
        raise StoreAwayError(f"Convex answers {response.status_code}: {told}")
    return bytes(content)


def _read(content: bytes) -> Mapping[str, Json]:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise StoreAwayError(f"what answers is not Convex: {error}") from error
    if not isinstance(answer, dict) or answer.get("status") not in ("success", "error"):
        raise StoreAwayError("what answers is not Convex")
    return answer


def _failure(path: str, answer: Mapping[str, Json]) -> StoreError:
    data, message = answer.get("errorData"), str(answer.get("errorMessage", ""))
    if isinstance(data, dict) and "kind" in data:
        return StoreRefusedError(REASONS.get(str(data["kind"]), str(data["kind"])))
    if MISSING in message:
        return StoreAwayError(f"Convex has no function {path}, or the admin key is another deployment's")
    return StoreRefusedError(f"{path}: {message[:500]}")


REASONS = {
    "exists": "there is a key with this digest",
    "unknown": "there is no such key",
    "revoked": "the key is revoked",
    "rotated": "the key has a successor",
    "unrouted": "there is no such route",
}


@asynccontextmanager
async def open_client(url: str, admin_key: Callable[[], str]) -> AsyncIterator[ConvexClient]:
    """Keep connections to a deployment while the context is open.

    Args:
        url: Its address.
        admin_key: Returns its admin key, as it is now.
    """
    timeout = httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS)
    limits = httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=30)
    async with httpx.AsyncClient(base_url=url, timeout=timeout, limits=limits, trust_env=False) as http:
        yield ConvexClient(http, admin_key)
