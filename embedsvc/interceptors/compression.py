"""Compresses answers for callers that ask.

Every gRPC client says that it accepts gzip, asked or not, and what a caller compresses its own
messages with is not shown to Python: so the wish travels as metadata of its own.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from embedsvc.errors import InvalidRequestError
from embedsvc.interceptors.base import Context, Layer

HEADER = "x-embedsvc-compression"
ALGORITHMS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
SERVICE = "/embedsvc.v1.EmbeddingService/"
"""The others have small answers; and Envoy, which transcodes one of them, compresses by itself."""


class CompressionLayer(Layer):
    """Obeys `x-embedsvc-compression: gzip`. Vectors shrink by little; repeated ones by much."""

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """See Layer."""
        wanted = dict(context.invocation_metadata() or ()).get(HEADER)
        if wanted is not None and method.startswith(SERVICE):
            if wanted not in ALGORITHMS:
                raise InvalidRequestError(f"{HEADER} must be {' or '.join(ALGORITHMS)}", param=HEADER)
            context.set_compression(ALGORITHMS[str(wanted)])
            # grpc.aio only obeys where the metadata goes out ahead of the answer.
            await context.send_initial_metadata(())
        yield
