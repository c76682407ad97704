"""What is called: each way takes texts and returns their vectors, read as a caller would read them."""

from collections.abc import Awaitable, Callable, Sequence

import grpc
import httpx
import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
"""Of shape [texts, dimensions]."""

Way = Callable[[int, Sequence[str]], Awaitable[Vectors]]
"""Embeds texts for the caller of a number."""


class BatchError(Exception):
    """One batch of a stream failed."""


FAILURES = (grpc.aio.AioRpcError, httpx.HTTPError, BatchError)
"""What a way raises when its call fails."""

TIMEOUT_SECONDS = 60


def name_failure(error: BaseException) -> str:
    """Say in a word why a call failed."""
    match error:
        case grpc.aio.AioRpcError():
            return error.code().name
        case httpx.HTTPStatusError():
            return f"HTTP {error.response.status_code}"
        case _:
            return type(error).__name__
