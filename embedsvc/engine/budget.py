"""A bound on the weights that are loaded at once: who was not used for longest makes room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from embedsvc.errors import OverloadedError


class Tenant(Protocol):
    """Whose weights they are."""

    @property
    def name(self) -> str:
        """The model."""

    @property
    def size(self) -> int:
        """The bytes of its weights, over all replicas."""

    @property
    def pinned(self) -> bool:
        """Whether it is always loaded, and never unloaded for others."""

    @property
    def used_at(self) -> float:
        """When it was last used."""

    @property
    def evictable(self) -> bool:
        """Whether it may be unloaded now: it is loaded, not pinned, and has no work."""

    async def evict(self) -> None:
        """Unload it."""


class Budget:
    """Counts weights.

    Args:
        limit: Bytes that may be loaded at once; None: as many as there are.

    Attributes:
        limit: The same; it may change.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._tenants: list[Tenant] = []
        self._making_room = asyncio.Lock()

    @property
    def used(self) -> int:
        """Bytes that are loaded."""
        return sum(tenant.size for tenant in self._tenants)

    @asynccontextmanager
    async def held(self, tenant: Tenant) -> AsyncIterator[None]:
        """Make room for a model, and hold it while the context is open.

        A pinned one gets it in any case: that all of those fit is seen to before, and while one is replaced
        both must be there.

        Raises:
            OverloadedError: There is no room beside those that have work.
        """
        async with self._making_room:
            if not tenant.pinned and self._excess(tenant.size) > self._spare():
                raise _no_room(tenant)
            await self._evict_for(tenant.size)
            if not tenant.pinned and self._excess(tenant.size) > 0:  # one of them has got work meanwhile
                raise _no_room(tenant)
            self._tenants.append(tenant)
        try:
            yield
        finally:
            self._tenants.remove(tenant)

    async def shrink(self) -> None:
        """Unload what is more than a limit that was lowered, as far as it has no work."""
        async with self._making_room:
            await self._evict_for(0)

    async def _evict_for(self, size: int) -> None:
        """Unload no more than need be, and whatever has work not at all."""
        while self._excess(size) > 0:
            idle = [tenant for tenant in self._tenants if tenant.evictable]
            if not idle:
                return
            await min(idle, key=lambda tenant: tenant.used_at).evict()

    def _excess(self, size: int) -> int:
        return 0 if self.limit is None else self.used + size - self.limit

    def _spare(self) -> int:
        return sum(tenant.size for tenant in self._tenants if tenant.evictable)


def _no_room(tenant: Tenant) -> OverloadedError:
    return OverloadedError(
        f"the model {tenant.name} does not fit beside those that are in use; try again later"
    )
