"""One line of log for each call, and the request id that ties it to Envoy's and the caller's."""

import random
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from embedsvc.interceptors.base import Context, Layer, ended_as
from embedsvc.interceptors.call import caller_name, is_open, request_id

log = structlog.get_logger()

HEADER = "x-request-id"
ACCEPTABLE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""Other ids are replaced: what a stranger writes must not shape the log."""


class LoggingLayer(Layer):
    """Takes or makes the request id, sends it back, and logs how the call ended."""

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """See Layer."""
        # Every call is a task of its own, so that nothing has to be set back.
        number = _take_id(context)
        request_id.set(number)
        caller_name.set("")
        structlog.contextvars.bind_contextvars(request_id=number)
        context.set_trailing_metadata(((HEADER, number),))
        started, error = time.perf_counter(), None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            write = log.debug if is_open(method) else log.info
            write(
                "call",
                rpc=method,
                code=ended_as(context, error),
                key=caller_name.get(),
                peer=context.peer(),
                milliseconds=round((time.perf_counter() - started) * 1000, 3),
            )


def _take_id(context: Context) -> str:
    for name, value in context.invocation_metadata() or ():
        if name == HEADER and isinstance(value, str) and ACCEPTABLE.fullmatch(value):
            return value
    # Not from the system, as uuid4's are: that gives up the interpreter, which other threads wait for.
    return str(uuid.UUID(int=random.getrandbits(128), version=4))
