"""What the cache knows of a request."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from embedsvc.cache.cache import Cache
from embedsvc.cache.key import Space
from embedsvc.cache.row import Key, Row
from embedsvc.engine.offload import Threads
from embedsvc.order import Order
from embedsvc.types import Truncation

MANY_CHARACTERS = 65_536
"""Of a request: hashing more would hold the event loop up."""


@dataclass(slots=True)
class Known:
    """What is known of a request's inputs.

    Attributes:
        keys: What each is found by; empty where nothing may be looked up or kept.
        rows: What was found, by place.
        second: How many of them came from the second level.
    """

    keys: Sequence[Key] = ()
    rows: dict[int, Row] = field(default_factory=dict)
    second: int = 0

    def missing(self, size: int) -> list[int]:
        """The places of what was not found, of so many."""
        return [at for at in range(size) if at not in self.rows]


class Lookup:
    """Looks requests up.

    Args:
        cache: Where; None: nowhere.
        threads: Where much text is hashed.
        truncation: What happens to texts that are too long where a request does not say.
    """

    def __init__(self, cache: Cache | None, threads: Threads, truncation: Truncation) -> None:
        self._cache = cache
        self._threads = threads
        self._truncation = truncation

    async def recall(self, order: Order) -> Known:
        """What memory has."""
        cache, caller = self._cache, order.caller
        if cache is None or not (caller.caches and caller.account.caches):
            return Known()
        known = Known(await self._keys(order, cache))
        self._take(order, known, range(len(known.keys)), cache.recall(known.keys))
        return known

    async def fetch(self, order: Order, known: Known) -> None:
        """Add what the second level has."""
        places = known.missing(len(known.keys))
        if self._cache is None or not places:
            return
        before = len(known.rows)
        self._take(order, known, places, await self._cache.fetch([known.keys[at] for at in places]))
        known.second = len(known.rows) - before

    def again(self, keys: Sequence[Key]) -> Mapping[Key, Row]:
        """What memory has by now."""
        rows = self._cache.recall(keys) if self._cache else []
        return {key: row for key, row in zip(keys, rows, strict=True) if row}

    def _take(self, order: Order, known: Known, places: Iterable[int], rows: Sequence[Row | None]) -> None:
        size = order.model.dimensions
        known.rows.update(
            (at, row) for at, row in zip(places, rows, strict=True) if row and len(row.vector) == size
        )

    async def _keys(self, order: Order, cache: Cache) -> Sequence[Key]:
        if sum(map(len, order.request.inputs)) <= MANY_CHARACTERS:
            return self._hash(order, cache)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads.many, self._hash, order, cache)

    def _hash(self, order: Order, cache: Cache) -> Sequence[Key]:
        request = order.request
        space = Space(
            space=order.model.card.space,
            prompt=order.prompt,
            truncation=request.truncation or self._truncation,
            normalized=order.normalizes,
            scope=order.caller.account.identity if cache.scope == "key" else "",
        )
        return [space.key(item, openai_ids=order.openai_ids) for item in request.inputs]
