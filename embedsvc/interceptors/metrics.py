"""Counts and times every call."""

import sys
import time
from typing import Any

from embedsvc.interceptors.base import Behaviour, Context, Layer, ended_as
from embedsvc.metrics import Metrics


class MetricsLayer(Layer):
    """Keeps the series of calls. Only known RPCs get here, so labels stay few."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def wrap(self, method: str, inner: Behaviour) -> Behaviour:
        """See Layer."""
        rpc = method.rpartition("/")[2]
        in_flight, duration = self._metrics.in_flight.labels(rpc), self._metrics.duration.labels(rpc)

        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - grpc does not type it
            in_flight.inc()
            started = time.perf_counter()
            try:
                return await inner(request, context)
            finally:
                in_flight.dec()
                duration.observe(time.perf_counter() - started)
                self._metrics.requests.labels(rpc, ended_as(context, sys.exception())).inc()

        return call
