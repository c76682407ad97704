"""One line of log for each call, and the request id that ties it to Envoy's and the caller's."""

import random
import re
import sys
import time
import uuid
from typing import Any

import structlog

from embedsvc.interceptors.base import Behaviour, Context, Layer, ended_as
from embedsvc.interceptors.call import caller_name, is_open, metadata, request_id
from embedsvc.keys import token

log = structlog.get_logger()

HEADER = "x-request-id"
ACCEPTABLE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""Other ids are replaced, and those with a key in them: what a stranger writes must not shape the log."""


class LoggingLayer(Layer):
    """Takes or makes the request id, sends it back, and logs how the call ended."""

    def wrap(self, method: str, inner: Behaviour) -> Behaviour:
        """See Layer."""
        write = log.debug if is_open(method) else log.info

        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - grpc does not type it
            _begin(context)
            started = time.perf_counter()
            try:
                return await inner(request, context)
            finally:
                write(
                    "call",
                    rpc=method,
                    code=ended_as(context, sys.exception()),
                    key=caller_name.get(),
                    peer=context.peer(),
                    milliseconds=round((time.perf_counter() - started) * 1000, 3),
                )

        return call


def _begin(context: Context) -> None:
    # Every call is a task of its own, so that nothing has to be set back.
    number = _take_id()
    request_id.set(number)
    caller_name.set("")
    structlog.contextvars.bind_contextvars(request_id=number)
    context.set_trailing_metadata(((HEADER, number),))


def _take_id() -> str:
    given = metadata.get().get(HEADER)
    if isinstance(given, str) and ACCEPTABLE.fullmatch(given) and not token.KEY.search(given):
        return given
    # Not from the system, as uuid4's are: that gives up the interpreter, which other threads wait for.
    return str(uuid.UUID(int=random.getrandbits(128), version=4))
