"""`embedsvc cache warm`: texts of a file are sent to a running server, which keeps what it computes."""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError
from embedsvc.operator.bulk import Streamed
from embedsvc.operator.client import dial

MOST_SHOWN = 5
"""Reasons of refusals that are told."""


@dataclass(slots=True)
class Sum:
    """What came of all texts."""

    texts: int = 0
    cached: int = 0
    tokens: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Streamed) -> None:
        """Add an answer."""
        self.texts += answer.texts
        self.cached += answer.cached
        self.tokens += answer.tokens
        self.refused.update(answer.refused)

    @property
    def computed(self) -> int:
        """Texts that were not known, and are now."""
        return self.texts - self.cached - self.refused.total()


async def warm(settings: Settings, options: argparse.Namespace) -> None:
    """Send the texts of a file, and say what came of them.

    Raises:
        ConfigurationError: The file cannot be read, the server does not answer, or refuses every text.
    """
    count = await asyncio.to_thread(lambda: sum(1 for _ in texts_of(options.file)))
    total = Sum()
    async with dial(settings, options) as client:
        with _bar() as bar:
            task = bar.add_task("texts", total=count)
            async for answer in client.stream(options.model, texts_of(options.file), options.input_type):
                total.add(answer)
                bar.advance(task, answer.texts)
    _tell(total)


def texts_of(path: Path) -> Iterator[str]:
    """The texts of a file, of which empty lines are none; they are read as they are needed.

    Raises:
        ConfigurationError: It cannot be read, or a line is no JSON string in a file named .jsonl.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                text = line.rstrip("\r\n")
                if text.strip():
                    yield _parsed(path, number, text) if path.suffix == ".jsonl" else text
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _parsed(path: Path, number: int, line: str) -> str:
    try:
        text = orjson.loads(line)
    except orjson.JSONDecodeError:
        text = None
    if not isinstance(text, str):
        raise ConfigurationError(f"{path}, line {number}: must be a JSON string")
    return text


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


def _tell(total: Sum) -> None:
    refused = total.refused.total()
    for reason, count in total.refused.most_common(MOST_SHOWN):
        print(f"refused: {count:,} of {reason}", file=sys.stderr)
    print(
        f"{total.texts:,} texts, {total.tokens:,} tokens: {total.computed:,} computed, "
        f"{total.cached:,} known before, {refused:,} refused",
        file=sys.stderr,
    )
    if total.texts and refused == total.texts:
        raise ConfigurationError("cache warm: the server refuses every text")
