"""Turns what handlers raise into gRPC statuses; the only place that does."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import grpc
import structlog

from embedsvc.errors import EmbedsvcError, InternalError
from embedsvc.interceptors.base import Behaviour, Context, Layer
from embedsvc.metrics import Metrics
from embedsvc.status import to_code, to_status

log = structlog.get_logger()

Trailers = Sequence[tuple[str, str | bytes]]
DETAILS = "grpc-status-details-bin"


class ErrorLayer(Layer):
    """Maps EmbedsvcError by its own table; anything else is INTERNAL, its traceback in the log.

    Args:
        metrics: Where errors are counted.
        extra: Trailing metadata beside the status, for a method and an error.
    """

    def __init__(self, metrics: Metrics, extra: Callable[[str, EmbedsvcError], Trailers]) -> None:
        self._metrics = metrics
        self._extra = extra

    def wrap(self, method: str, inner: Behaviour) -> Behaviour:
        """See Layer."""

        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - grpc does not type it
            try:
                return await inner(request, context)
            except EmbedsvcError as error:
                await self._abort(method, context, error)
            except grpc.aio.AbortError:
                raise
            except Exception:
                log.exception("handler failed", rpc=method)
                await self._abort(method, context, InternalError())

        return call

    async def _abort(self, method: str, context: Context, error: EmbedsvcError) -> NoReturn:
        self._metrics.errors.labels(error.reason).inc()
        trailers = (
            *(context.trailing_metadata() or ()),
            (DETAILS, to_status(error).SerializeToString()),
            *self._extra(method, error),
        )
        await context.abort(to_code(error), error.message, trailers)
