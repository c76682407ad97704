"""A server whose store is the stand-in for Convex, callers whose every request is in its ledger."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

from embedsvc.keys import token
from embedsvc.store.convex.client import CALL_SECONDS
from embedsvc.store.convex.store import open_convex
from embedsvc.store.records import KeyRecord, Limits
from support.limited import ask_once
from support.programs import run_server
from support.trust import bearer, until

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    import grpc

    from support.convex import StandIn
    from support.pki import State
    from support.programs import Server

AT_ONCE = 8
WITHIN = CALL_SECONDS - 1
"""Seconds of a call's deadline: who waited for a store that hangs would miss it."""

DROPPED = 'embeddings_ledger_rows_total{result="dropped",what="requests"}'


def run_with(
    standin: StandIn, state: State, folder: Path, **values: object
) -> AbstractContextManager[Server]:
    """Run a server with the stand-in, whose callers do not share a limit."""
    (standin.folder / "admin_key").write_text(standin.admin_key)
    settings = {
        "STORE__KIND": "convex",
        "STORE__URL": standin.url,
        "STORE__ADMIN_KEY": f"file:{standin.folder / 'admin_key'}",
        "RATES__SHARED_REQUESTS_PER_MINUTE": 0,
    }
    return run_server(state, folder, encoder="fake", **{**settings, **values})


async def new_key(standin: StandIn, name: str = "caller", **limits: int) -> tuple[tuple[str, str], ...]:
    """Make a key; return the metadata of its callers."""
    key, at = token.generate(), time.time()
    record = KeyRecord(token.digest(key), token.prefix(key), name, limits=Limits(**limits), created_at=at)
    async with open_convex(standin.url, lambda: standin.admin_key) as store:
        await store.create_key(record)
    return bearer(key)


async def ask_many(channel: grpc.aio.Channel, metadata, count: int) -> list[str]:
    """Ask with ids, some at once; return the ids. None may fail, or wait for a store."""
    ids = [f"request-{time.monotonic_ns()}-{number}" for number in range(count)]
    left = iter(ids)

    async def call() -> None:
        for one in left:
            answer = await ask_once(channel, (*metadata, ("x-request-id", one)), within=WITHIN)
            assert answer.code == "OK", answer

    await asyncio.gather(*(call() for _ in range(AT_ONCE)))
    return ids


def rows_of(standin: StandIn, ids: list[str]) -> list[int]:
    """How often each of some requests is in the ledger."""
    found = Counter(row["requestId"] for row in standin.dump("embeddingRequests"))
    return [found[one] for one in ids]


async def until_all_are_there(standin: StandIn, ids: list[str]) -> None:
    """Wait for rows of all, and then see that each is there once."""

    async def there() -> bool:
        return 0 not in await asyncio.to_thread(rows_of, standin, ids)

    await until(there)
    assert rows_of(standin, ids) == [1] * len(ids)
