"""Convex behind the store's protocol."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from embedsvc.store.convex.client import ConvexClient, Json, open_client
from embedsvc.store.convex.wire import decode, decode_route, encode, milliseconds, understood
from embedsvc.store.protocols import MOST_FAILURES
from embedsvc.store.records import (
    FailureRow,
    Grant,
    KeptRoute,
    KeyRecord,
    RequestRow,
    RouteRecord,
    UsageRow,
    Want,
)

PAGE = 500
"""Rows of one question, and of one answer."""


@dataclass(frozen=True, slots=True)
class Clients:
    """A client for each purpose: what goes wrong with one, or floods it, is not the others'."""

    keys: ConvexClient
    limits: ConvexClient
    ledger: ConvexClient
    routes: ConvexClient


class ConvexStore:
    """See `protocols.Store`. Open it with `open_convex`."""

    def __init__(self, clients: Clients, name: str) -> None:
        self.name = name
        self._keys = clients.keys
        self._limits = clients.limits
        self._ledger = clients.ledger
        self._routes = clients.routes

    @understood()
    async def find_keys(self, digests: Sequence[str]) -> Mapping[str, KeyRecord]:
        """See KeyStore."""
        found: dict[str, KeyRecord] = {}
        for start in range(0, len(digests), PAGE):
            some = list(digests[start : start + PAGE])
            documents = await self._keys.query("embeddings:lookupKeys", {"keyHashes": some})
            found.update((key.digest, key) for key in (decode(KeyRecord, each) for each in documents))
        return found

    @understood()
    async def list_keys(self) -> Sequence[KeyRecord]:
        """See KeyStore."""
        documents = self._pages(self._keys, "embeddings:listKeys", {}, "keys")
        return [decode(KeyRecord, document) async for document in documents]

    async def create_key(self, key: KeyRecord) -> None:
        """See KeyStore."""
        await self._keys.mutate("embeddings:createKey", {"key": encode(key)})

    async def rotate_key(self, digest: str, successor: KeyRecord, expires_at: float) -> None:
        """See KeyStore."""
        arguments = {
            "keyHash": digest,
            "successor": encode(successor),
            "expiresAt": milliseconds(expires_at),
        }
        await self._keys.mutate("embeddings:rotateKey", arguments)

    async def revoke_key(self, digest: str, at: float) -> None:
        """See KeyStore."""
        await self._keys.mutate("embeddings:revokeKey", {"keyHash": digest, "at": milliseconds(at)})

    async def touch_keys(self, used: Mapping[str, float]) -> None:
        """See KeyStore."""
        uses = [{"keyHash": digest, "at": milliseconds(at)} for digest, at in used.items()]
        for start in range(0, len(uses), PAGE):
            await self._keys.mutate("embeddings:touchKeys", {"used": uses[start : start + PAGE]})

    @understood()
    async def lease(self, wants: Sequence[Want]) -> Sequence[Grant]:
        """See LimitStore."""
        arguments = {"wants": [encode(want) for want in wants]}
        grants = await self._limits.mutate("embeddings:checkRateLimit", arguments)
        return [decode(Grant, grant) for _want, grant in zip(wants, grants, strict=True)]

    async def log_requests(self, batch_id: str, rows: Sequence[RequestRow]) -> None:
        """See LedgerStore."""
        arguments = {"batchId": batch_id, "requests": [encode(row) for row in rows]}
        await self._ledger.mutate("embeddings:logRequest", arguments)

    async def log_failures(self, batch_id: str, rows: Sequence[FailureRow]) -> None:
        """See LedgerStore."""
        arguments = {"batchId": batch_id, "failures": [encode(row) for row in rows]}
        await self._ledger.mutate("embeddings:logAuthFailure", arguments)

    @understood()
    async def usage(self, first_day: str, last_day: str) -> Sequence[UsageRow]:
        """See LedgerStore."""
        span = {"firstDay": first_day, "lastDay": last_day}
        return [
            decode(UsageRow, document)
            async for document in self._pages(self._ledger, "embeddings:usage", span, "rows")
        ]

    @understood()
    async def failures(self, since: float) -> Sequence[FailureRow]:
        """See LedgerStore."""
        arguments = {"since": milliseconds(since), "limit": MOST_FAILURES}
        documents = await self._ledger.query("embeddings:failures", arguments)
        return [decode(FailureRow, document) for document in documents]

    @understood()
    async def purge(self, before: float, usage_before_day: str, limit: int) -> int:
        """See LedgerStore."""
        arguments = {"before": milliseconds(before), "usageBeforeDay": usage_before_day, "limit": limit}
        return int(await self._ledger.mutate("embeddings:purge", arguments))

    @understood()
    async def list_routes(self) -> Sequence[KeptRoute]:
        """See RouteStore."""
        documents = await self._routes.query("embeddings:routes", {})
        return [decode_route(document) for document in documents]

    async def set_route(self, route: RouteRecord) -> None:
        """See RouteStore."""
        await self._routes.mutate("embeddings:setRoute", {"route": encode(route)})

    async def remove_route(self, alias: str) -> None:
        """See RouteStore."""
        await self._routes.mutate("embeddings:removeRoute", {"alias": alias})

    async def _pages(
        self, client: ConvexClient, path: str, arguments: Mapping[str, Json], part: str
    ) -> AsyncIterator[Json]:
        """Everything that a query has, page after page."""
        cursor = None
        while True:
            page = await client.query(path, {**arguments, "cursor": cursor, "limit": PAGE})
            for document in page[part]:
                yield document
            cursor = page["cursor"]
            if cursor is None:
                return


@asynccontextmanager
async def open_convex(url: str, admin_key: Callable[[], str]) -> AsyncIterator[ConvexStore]:
    """Use a deployment while the context is open. It need not answer yet."""
    async with (
        open_client(url, admin_key) as keys,
        open_client(url, admin_key) as limits,
        open_client(url, admin_key) as ledger,
        open_client(url, admin_key) as routes,
    ):
        yield ConvexStore(Clients(keys, limits, ledger, routes), f"Convex at {url}")
