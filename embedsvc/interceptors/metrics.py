"""Counts and times every call."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embedsvc.interceptors.base import Context, Layer, ended_as
from embedsvc.metrics import Metrics


class MetricsLayer(Layer):
    """Keeps the series of calls. Only known RPCs get here, so labels stay few."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """See Layer."""
        rpc = method.rpartition("/")[2]
        in_flight = self._metrics.in_flight.labels(rpc)
        in_flight.inc()
        started, error = time.perf_counter(), None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            in_flight.dec()
            self._metrics.duration.labels(rpc).observe(time.perf_counter() - started)
            self._metrics.requests.labels(rpc, ended_as(context, error)).inc()
