"""Disks: whether there is room where the service writes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from embedsvc.config import Settings
from embedsvc.doctor import edge
from embedsvc.doctor.finding import Finding, Subject

SUBJECT = Subject("disk")
GIBIBYTE = 2**30
LITTLE, NEXT_TO_NOTHING = GIBIBYTE, GIBIBYTE // 16


def look(settings: Settings) -> Iterator[Finding]:
    """Look at every folder that something is written into."""
    for setting, folder in _folders(settings):
        yield _look_at(setting, nearest(folder))


def nearest(folder: Path) -> Path:
    """A folder, or the one in which it would be made."""
    return next(each for each in (folder, *folder.absolute().parents) if edge.is_there(each))


def _folders(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield "temporary files", Path(tempfile.gettempdir())
    if settings.store.kind == "sqlite":
        yield "store.path", settings.store.path.parent
    if edge.is_there(settings.auth.nonces) or any(each.signing_secret for each in settings.auth.identities):
        yield "auth.nonces", settings.auth.nonces
    if settings.engine.encoder == "onnx":
        yield "models.cache", settings.models.cache


def _look_at(setting: str, folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    what = f"{setting}: {free / GIBIBYTE:,.1f} GiB free in {folder}"
    if not os.access(folder, os.W_OK):
        advice = "Let the user that the server runs as write there, or set another folder"
        return SUBJECT.error(f"{setting}: {folder} may not be written by this user", advice)
    if free < NEXT_TO_NOTHING:
        return SUBJECT.error(what, "Make room: what cannot be written is lost, or stops the start")
    if free < LITTLE:
        return SUBJECT.warning(what, "Make room before it is full")
    return SUBJECT.ok(what)
