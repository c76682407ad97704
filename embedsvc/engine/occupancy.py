"""Who is inside, counted, so that one can wait until nobody is."""

import asyncio


class Occupancy:
    """A context that any number of tasks may be in at once. For one event loop.

    Attributes:
        count: How many are inside.
    """

    def __init__(self) -> None:
        self.count = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def __enter__(self) -> None:
        self.count += 1
        self._empty.clear()

    def __exit__(self, *_exception: object) -> None:
        self.count -= 1
        if not self.count:
            self._empty.set()

    async def empty(self) -> None:
        """Wait until nobody is inside."""
        await self._empty.wait()
