"""A listener of a pool that remembers, and can be waited for."""

import asyncio

SECONDS = 20


class Witness:
    """Hears what becomes of replicas."""

    def __init__(self):
        self.events = asyncio.Queue()

    def joined(self, replica):
        self.events.put_nowait(("joined", replica))

    def left(self, replica):
        self.events.put_nowait(("left", replica))

    def given_up(self):
        self.events.put_nowait(("given up", None))

    async def next(self, what):
        """Wait for the next event, which must be this one."""
        event, replica = await asyncio.wait_for(self.events.get(), SECONDS)
        assert event == what
        return replica

    async def until(self, what):
        """Wait for this event, whatever comes before it."""
        async with asyncio.timeout(SECONDS):
            while True:
                event, replica = await self.events.get()
                if event == what:
                    return replica
