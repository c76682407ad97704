"""What a replica's process writes, put into the log of who started it."""

import logging
from asyncio import StreamReader

import orjson
import structlog

log = structlog.get_logger()

LEVELS = logging.getLevelNamesMapping()


async def relay(output: StreamReader, device: str) -> None:
    """Put what the process logs into the log, and what libraries write there too."""
    while line := await _read_line(output):
        if text := line.decode(errors="replace").strip():
            _log_line(text, device)


async def _read_line(output: StreamReader) -> bytes:
    try:
        return await output.readline()
    except ValueError:
        return b"(a line that is too long to repeat)"


def _log_line(text: str, device: str) -> None:
    try:
        fields = orjson.loads(text)
        event, level = fields.pop("event"), LEVELS[fields.pop("level").upper()]
    except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError):
        log.warning("replica wrote", device=device, text=text)
    else:
        log.log(level, event, **{"device": device, **fields})
