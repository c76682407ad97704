"""Compresses answers for callers that ask.

Every gRPC client says that it accepts gzip, asked or not, and what a caller compresses its own
messages with is not shown to Python: so the wish travels as metadata of its own.
"""

from typing import Any

import grpc

from embedsvc.errors import InvalidRequestError
from embedsvc.interceptors.base import Behaviour, Context, Layer
from embedsvc.interceptors.call import metadata

HEADER = "x-embedsvc-compression"
ALGORITHMS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
SERVICE = "/embedsvc.v1.EmbeddingService/"
"""The others have small answers; and Envoy, which transcodes one of them, compresses by itself."""


class CompressionLayer(Layer):
    """Obeys `x-embedsvc-compression: gzip`. Vectors shrink by little; repeated ones by much."""

    def wrap(self, method: str, inner: Behaviour) -> Behaviour:
        """See Layer."""
        if not method.startswith(SERVICE):
            return inner

        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - grpc does not type it
            wanted = metadata.get().get(HEADER)
            if wanted is not None:
                await _compress(wanted, context)
            return await inner(request, context)

        return call


async def _compress(wanted: str | bytes, context: Context) -> None:
    if wanted not in ALGORITHMS:
        raise InvalidRequestError(f"{HEADER} must be {' or '.join(ALGORITHMS)}", param=HEADER)
    context.set_compression(ALGORITHMS[str(wanted)])
    # grpc.aio only obeys where the metadata goes out ahead of the answer.
    await context.send_initial_metadata(())
