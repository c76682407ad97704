"""Holds callers to their limits, and tells them what is left."""

from typing import Any

from embedsvc.interceptors.base import Behaviour, Context, Layer
from embedsvc.interceptors.call import account, is_open, kind_of


class RatesLayer(Layer):
    """Takes a request off the caller's limits. A stream is free to open; each of its batches is a request."""

    def wrap(self, method: str, inner: Behaviour) -> Behaviour:
        """See Layer."""
        if is_open(method) or kind_of(method) == "stream":
            return inner

        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - grpc does not type it
            used = account.get()
            if not used.limited:
                return await inner(request, context)
            try:
                await used.admit()
                return await inner(request, context)
            finally:
                context.set_trailing_metadata((*(context.trailing_metadata() or ()), *used.headers()))

        return call
