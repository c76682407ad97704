"""Writes down every call that was let in."""

import sys
import time
from typing import Any

from embedsvc.interceptors.base import Behaviour, Context, Layer, ended_as
from embedsvc.interceptors.call import account, is_open, kind_of, request_id
from embedsvc.ledger.ledger import Ledger


class LedgerLayer(Layer):
    """Gives the ledger a row for each call; those of a stream are the servicer's, which knows its batches."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def wrap(self, method: str, inner: Behaviour) -> Behaviour:
        """See Layer."""
        if is_open(method) or kind_of(method) == "stream":
            return inner
        rpc = method.rpartition("/")[2]

        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - grpc does not type it
            started = time.perf_counter()
            try:
                return await inner(request, context)
            finally:
                if used := account.get(None):
                    took = time.perf_counter() - started
                    self._ledger.add(
                        used.row(request_id.get(), rpc, ended_as(context, sys.exception()), took)
                    )

        return call
