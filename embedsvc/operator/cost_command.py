"""`embedsvc cost`: what vectors cost here, beside OpenAI's two prices."""

import argparse
import asyncio
import datetime as dt
import sys
from collections.abc import Iterator, Sequence

from embedsvc import prices
from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError
from embedsvc.operator import numbers
from embedsvc.operator.cost import Cost, Machines, cost
from embedsvc.operator.opening import opened_store
from embedsvc.operator.shown import FORMS, Cell, Column, show

DAYS = 30

COLUMNS = (
    Column("used since", "since"),
    Column("hours since then", "hours", number=True),
    Column("machines", "machines", number=True),
    Column("$ of one machine and hour", "usd_per_hour", number=True),
    Column("$ of all machines", "machines_usd", number=True),
    Column("texts answered here", "texts", number=True),
    Column("of them from the cache, %", "cached_percent", number=True),
    Column("tokens answered here", "tokens", number=True),
    Column("tokens an hour", "tokens_per_hour", number=True),
    Column("$ of a million tokens here", "usd_per_million", number=True),
    Column("$ of a million tokens, OpenAI's 3-small", "openai_small_usd_per_million", number=True),
    Column("$ of a million tokens, OpenAI's 3-large", "openai_large_usd_per_million", number=True),
    Column("$ that OpenAI would have asked, 3-small", "openai_small_usd", number=True),
    Column("$ that OpenAI would have asked, 3-large", "openai_large_usd", number=True),
    Column("$ saved (3-small)", "saved_small_usd", number=True),
    Column("$ saved (3-large)", "saved_large_usd", number=True),
    Column("tokens an hour from which machines pay (3-small)", "break_even_small", number=True),
    Column("tokens an hour from which machines pay (3-large)", "break_even_large", number=True),
    Column("$ that providers asked", "providers_usd", number=True),
)
"""A row for programs; people read it downwards."""

TABLE = (Column("what", "what"), Column("how much", "amount", number=True))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument(
        "--days", type=numbers.whole_days, default=DAYS, help="the last days, UTC; default: %(default)s"
    )
    parser.add_argument(
        "--usd-per-hour", type=numbers.dollars, metavar="X", help="of one machine; default: cost.usd_per_hour"
    )
    parser.add_argument(
        "--machines",
        type=numbers.machines,
        default=1.0,
        metavar="M",
        help="how many run, on average; default: 1",
    )
    parser.add_argument("--format", choices=FORMS, default="table")


def run(settings: Settings, options: argparse.Namespace) -> None:
    """Print what it costs. Raises ConfigurationError."""
    usd = settings.cost.usd_per_hour if options.usd_per_hour is None else options.usd_per_hour
    if usd is None:
        raise ConfigurationError(
            "cost: say what a machine costs an hour, with --usd-per-hour or as cost.usd_per_hour"
        )
    asyncio.run(_run(settings, options, Machines(usd, options.machines)))


async def _run(settings: Settings, options: argparse.Namespace, machines: Machines) -> None:
    now = dt.datetime.now(dt.UTC)
    first = now.date() - dt.timedelta(days=options.days - 1)
    async with opened_store(settings) as store:
        rows = await store.usage(first.isoformat(), now.date().isoformat())
    found = cost(rows, settings, machines, now)
    if options.format == "table":
        show(TABLE, [*_lines(found)], "table")
    else:
        show(COLUMNS, [_cells(found)], options.format)
    for line in notes(found):
        print(line, file=sys.stderr)


def _lines(found: Cost) -> Iterator[tuple[str, Cell]]:
    for column, cell in zip(COLUMNS, _cells(found), strict=True):
        is_price = column.name.endswith("per_million") and cell is not None
        yield column.title, f"{cell:.4f}" if is_price else cell


def _cells(found: Cost) -> Sequence[Cell]:
    small, large = prices.SMALL, prices.LARGE
    million = found.usd_per_million
    return (
        found.since,
        round(found.hours, 2),
        found.machines.count,
        found.machines.usd_per_hour,
        round(found.machines_usd, 6),
        found.here.texts,
        round(found.here.cached_share * 100, 2),
        found.here.tokens,
        round(found.tokens_per_hour),
        None if million is None else round(million, 6),
        small,
        large,
        round(found.openai_usd(small), 6),
        round(found.openai_usd(large), 6),
        round(found.saved_usd(small), 6),
        round(found.saved_usd(large), 6),
        round(found.break_even(small)),
        round(found.break_even(large)),
        round(found.providers_usd, 6),
    )


def notes(found: Cost) -> Iterator[str]:
    """Say what the numbers do not."""
    if not found.here.tokens:
        yield "nothing was answered here: the machines saved nothing"
    elif found.saved_usd(prices.LARGE) < 0:
        yield "the machines cost more than OpenAI would have asked at either price"
    elif found.saved_usd(prices.SMALL) < 0:
        yield "the machines cost less than OpenAI's 3-large would have, and more than its 3-small"
    for name in found.unpriced:
        yield f"{name}: nobody says what it costs (usd_per_million): it is counted as nothing"
