"""Replicas: one encoder, one device, one thread each."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from embedsvc.engine.encoder import Encoder, EncoderFactory
from embedsvc.errors import ConfigurationError
from embedsvc.types import TokenSequence, Vectors

PROBE = [[0] * 4]
"""A batch of one short text."""


class Replica:
    """An encoder that lives in a thread of its own.

    Attributes:
        device: Where it runs.
        dimensions: The length of its vectors.
        padded: See `Encoder.padded`.
        healthy: False from a failed batch until the next that succeeds.
    """

    def __init__(self, encoder: Encoder, thread: ThreadPoolExecutor) -> None:
        self.device = encoder.device
        self.dimensions = encoder.dimensions
        self.padded = encoder.padded
        self.healthy = True
        self._encoder = encoder
        self._thread = thread

    async def encode(self, batch: Sequence[TokenSequence]) -> Vectors:
        """Run one batch in the replica's thread. Raises whatever the encoder does."""
        loop = asyncio.get_running_loop()
        try:
            vectors = await loop.run_in_executor(self._thread, self._encode, batch)
        except Exception:
            self.healthy = False
            raise
        self.healthy = True
        return vectors

    async def probe(self) -> None:
        """Run one short text behind the batch under way. Raises whatever the encoder does."""
        await self.encode(PROBE)

    def _encode(self, batch: Sequence[TokenSequence]) -> Vectors:
        vectors = self._encoder.encode(batch)
        if vectors.shape != (len(batch), self.dimensions):
            raise RuntimeError(f"the encoder made {vectors.shape} of {len(batch)} texts")
        return vectors

    def gpu_memory(self) -> int | None:
        """See `Encoder.gpu_memory`."""
        return self._encoder.gpu_memory()


@asynccontextmanager
async def open_replica(
    factory: EncoderFactory, device: str, warm_up: Sequence[TokenSequence]
) -> AsyncIterator[Replica]:
    """Load an encoder in a thread of its own and run a batch; the thread ends with the context.

    Raises:
        ConfigurationError: It cannot be loaded, or cannot compute what it is there for.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix=f"replica-{device}") as thread:
        try:
            replica = Replica(await loop.run_in_executor(thread, factory, device), thread)
            await replica.encode(warm_up)
        except (OSError, RuntimeError, IndexError, KeyError) as error:
            raise ConfigurationError(f"a model cannot be used on {device}: {error!r}") from error
        yield replica
