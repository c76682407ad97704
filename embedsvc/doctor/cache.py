"""The cache's second level: a file that is one and may be written, or a Redis that answers and makes room."""

import os
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from pathlib import Path

from embedsvc.cache import sqlite_file as file
from embedsvc.config import Settings
from embedsvc.doctor import redis
from embedsvc.doctor.check import in_thread
from embedsvc.doctor.disk import nearest
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.doctor.redis import MEBIBYTE, WITHOUT
from embedsvc.store.sqlite.lane import code_of

SUBJECT = Subject("cache")


async def look(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Look at what `cache.second` names. Nothing is written, and no row is read."""
    cache = settings.cache
    if not cache.enabled or cache.second == "none":
        yield SUBJECT.note("there is no second level: a restart forgets what was computed")
        return
    looking = (
        redis.look_at(settings, SUBJECT) if cache.second == "redis" else in_thread(_look_at_file)(settings)
    )
    async for finding in looking:
        yield finding


def _look_at_file(settings: Settings) -> Iterator[Finding]:
    path, bound = settings.cache.path, settings.cache.disk_bytes
    folder = nearest(path.parent)
    if not os.access(folder, os.W_OK):
        advice = f"Let the user that the server runs as write there, or set cache.path. {WITHOUT}"
        yield SUBJECT.error(f"cache.path {path}: {folder} may not be written by this user", advice)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        size = 0
        yield SUBJECT.note(f"there is no file {path} yet, in {Path.cwd()}", "The server's start makes it")
    except OSError as error:
        yield SUBJECT.error(f"{path} cannot be read: {error.strerror}", WITHOUT)
        return
    if size:
        yield _judge_file(path, size)
    free = shutil.disk_usage(folder).free
    if free < bound - size:
        yield SUBJECT.warning(
            f"cache.disk_bytes is {bound / MEBIBYTE:,.0f} MiB, of which {size / MEBIBYTE:,.0f} are used, and "
            f"the disk has {free / MEBIBYTE:,.0f} MiB left",
            "Make room, or let the cache have less",
        )


def _judge_file(path: Path, size: int) -> Finding:
    try:
        rows = _count(path)
    except (OSError, sqlite3.Error) as error:
        if not os.access(path, os.R_OK):
            return SUBJECT.error(f"{path} may not be read by this user", WITHOUT)
        if code_of(error) in file.BROKEN and file.is_cache(path):
            return SUBJECT.warning(f"{path} is damaged: {error}", "The server throws it away by itself")
        return SUBJECT.error(
            f"{path} is no cache of this release, and is left alone: {error}",
            f"Set cache.path to another file, or delete this one if it is nothing else. {WITHOUT}",
        )
    if not os.access(path, os.W_OK):
        return SUBJECT.error(f"{path} may not be written by this user", WITHOUT)
    return SUBJECT.ok(f"{path}: {rows:,} vectors, {size / MEBIBYTE:,.1f} MiB")


def _count(path: Path) -> int:
    real = path.resolve()
    # Where nobody has it open, a plain reader would leave two files beside it.
    way = "mode=ro" if real.with_name(real.name + "-wal").exists() else "mode=ro&immutable=1"
    with closing(sqlite3.connect(f"{real.as_uri()}?{way}", uri=True, timeout=1)) as db:
        if not file.is_made(db):
            raise sqlite3.NotSupportedError("it is empty")
        return int(db.execute("SELECT count FROM state").fetchone()[0])
