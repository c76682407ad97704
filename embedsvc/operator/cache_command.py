"""`embedsvc cache`: shows what is kept, forgets it, and has texts computed before anybody asks for them."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from embedsvc.cache.level import Level
from embedsvc.cache.second import open_level
from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError
from embedsvc.operator import cache_stats, warming
from embedsvc.operator.client import add_connection_arguments
from embedsvc.operator.series import read_series
from embedsvc.operator.shown import FORMS, show
from embedsvc.secret.keeper import open_secrets
from embedsvc.store.protocols import StoreError
from embedsvc.trust import CACHE_PASSWORD, parsers
from embedsvc.types import InputType


def add_parsers(parser: argparse.ArgumentParser) -> None:
    """Say what there is: each is a command of its own, as those of `cli.py` are."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    stats = commands.add_parser("stats", help="show how much is kept, and how much of it was asked for again")
    stats.add_argument("--format", choices=FORMS, default="table")
    stats.set_defaults(command=show_stats)
    clear = commands.add_parser("clear", help="forget all vectors, in the second level and in every server")
    clear.set_defaults(command=clear_all)
    warm = commands.add_parser("warm", help="have a running server compute texts, so that it knows them")
    warm.add_argument("file", type=Path, help="a text a line; in a file named .jsonl, a JSON string a line")
    warm.add_argument("--model", default="", help="a name or alias; default: the primary model")
    warm.add_argument(
        "--input-type",
        type=InputType,
        choices=tuple(InputType),
        default=InputType.UNSPECIFIED,
        help="what callers will say that these texts are for; default: %(default)s",
    )
    add_connection_arguments(warm)
    warm.set_defaults(command=warm_up)


def show_stats(settings: Settings, options: argparse.Namespace) -> None:
    """Print how much there is. Raises ConfigurationError."""
    asyncio.run(_show_stats(settings, options))


def clear_all(settings: Settings, _options: argparse.Namespace) -> None:
    """Forget all vectors. Raises ConfigurationError."""
    asyncio.run(_clear(settings))


def warm_up(settings: Settings, options: argparse.Namespace) -> None:
    """Have texts computed. Raises ConfigurationError."""
    asyncio.run(warming.warm(settings, options))


async def _show_stats(settings: Settings, options: argparse.Namespace) -> None:
    async with _opened_level(settings) as level:
        second = cache_stats.second_row(level.name, await level.measure())
    series = await read_series(settings.metrics)
    if series is None:
        print(
            f"no server answers at metrics.port {settings.metrics.port}: what it has in memory, and what was "
            "asked for again, is not shown",
            file=sys.stderr,
        )
    memory = cache_stats.memory_row(settings.cache.memory_bytes)
    show(cache_stats.COLUMNS, cache_stats.counted([memory, second], series), options.format)


async def _clear(settings: Settings) -> None:
    async with _opened_level(settings) as level:
        count = await level.clear()
        name = level.name
    print(f"{count:,} vectors are gone from {name}; servers forget theirs within 2 seconds", file=sys.stderr)


@asynccontextmanager
async def _opened_level(settings: Settings) -> AsyncIterator[Level]:
    """The second level, for one command.

    Raises:
        ConfigurationError: There is none, or it did not do what it was asked.
    """
    cache = settings.cache
    if not cache.enabled or cache.second == "none":
        raise ConfigurationError(
            "cache: there is no second level (cache.enabled, cache.second); what servers have in memory goes "
            "when they restart"
        )
    if cache.second == "sqlite" and not await asyncio.to_thread(cache.path.exists):
        raise ConfigurationError(
            f"cache.path {cache.path}: there is no such file in {Path.cwd()}. Run the command in the folder "
            "of the server, or set EMBEDSVC_CACHE__PATH; the server's start makes the file"
        )
    refs = {CACHE_PASSWORD: cache.password} if cache.password else {}
    try:
        async with open_secrets(refs, settings.vault, settings.aws, parsers(settings)) as secrets:
            secret = secrets.get(CACHE_PASSWORD)
            password = (lambda: str(secret.meaning)) if secret else None
            async with open_level(cache, password) as level:
                yield level
    except StoreError as error:
        raise ConfigurationError(f"cache: {error}") from None
