"""Structured logs: one JSON object a line on standard error."""

import logging
import sys
from collections.abc import Callable
from functools import partial

import orjson
import structlog

from embedsvc.config import LogSettings

GRPC = "grpc._cython.cygrpc"
"""The logger of gRPC's core."""


def configure(settings: LogSettings, process: int | None = None) -> None:
    """Set up structlog, and bring the logs of libraries into the same form.

    Args:
        settings: What is written.
        process: What each line names as `process`; None: nothing.
    """
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        *([partial(_name_process, process)] if process is not None else []),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Without the local variables of every frame: texts and keys are among them.
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ),
    ]
    renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_holds_no_metadata)
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _holds_no_metadata(record: logging.LogRecord) -> bool:
    """Drop what gRPC says of metadata that are not UTF-8: it quotes them, and they may be a key."""
    return not (record.name == GRPC and str(record.msg).startswith("Invalid encoding"))


def _name_process(
    number: int, _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event["process"] = number
    return event


def _dumps(event: object, default: Callable[[object], object]) -> bytes:
    """As json.dumps does, in a fifth of the time: every call is a line."""
    return orjson.dumps(event, default)
