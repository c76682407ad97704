"""`embedsvc calibrate`: find the ranges that int8 and uint8 vectors of a model need, and write them down."""

import argparse
import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from embedsvc.calibration import Calibration, calibration_of, shipped_texts, write
from embedsvc.config import Settings
from embedsvc.engine import calibrations, fake
from embedsvc.engine.engine import open_engine
from embedsvc.errors import ConfigurationError, EmbedsvcError
from embedsvc.metrics import Metrics
from embedsvc.operator.calibrating import find_ranges

LEAST = 100
"""Texts; the ranges of fewer say little of those of others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("model", help="the model's own name")
    parser.add_argument(
        "file", type=Path, nargs="?", help="texts, one a line; default: those that are shipped"
    )
    parser.add_argument("--out", type=Path, help="default: where the server looks for it")


def run(settings: Settings, options: argparse.Namespace) -> None:
    """Make a calibration. Raises ConfigurationError."""
    if options.model not in settings.models.served:
        raise ConfigurationError(
            f"{options.model} is not one of the configured models: {', '.join(settings.models.served)}"
        )
    if settings.engine.encoder in fake.ENCODERS:
        raise ConfigurationError(f"engine.encoder is {settings.engine.encoder}: its vectors mean nothing")
    texts = _read(options.file) if options.file else shipped_texts()
    path = options.out or calibrations.place(options.model, settings.models)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written is told before the work
    asyncio.run(_calibrate(options.model, texts, path, _only(options.model, settings)))


def _read(path: Path) -> Sequence[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    texts = [line for line in lines if line.strip()]
    if len(texts) < LEAST:
        raise ConfigurationError(f"{path}: must hold {LEAST} texts or more, one a line; has {len(texts)}")
    return texts


def _only(name: str, settings: Settings) -> Settings:
    """The same settings, with one model only, and without its calibration: that may be of other weights."""
    overrides = settings.models.settings.get(name)
    own = {name: overrides.model_copy(update={"calibration": None})} if overrides else {}
    alone = {"primary": name, "fallback": "", "also": (), "lazy": (), "settings": own}
    models = settings.models.model_copy(update={**alone, "calibrations": Path(os.devnull)})
    return settings.model_copy(update={"models": models})


async def _calibrate(name: str, texts: Sequence[str], path: Path, settings: Settings) -> None:
    try:
        found = await _find(name, texts, settings)
    except EmbedsvcError as error:
        raise ConfigurationError(f"calibration of {name}: {error.message}") from error
    with _writing(path):
        write(path, found, len(texts))
    told = f"{path}: {name} at {found.revision}, of {len(texts):,} texts"
    print(f"{told}. Servers read it when they load the model.")


async def _find(name: str, texts: Sequence[str], settings: Settings) -> Calibration:
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=len(texts))
        async with open_engine(settings, Metrics()) as engine:
            ranges = await find_ranges(engine.primary, texts, partial(progress.advance, task))
            return calibration_of(name, engine.primary.card.files.revision, ranges)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
