"""`embedsvc usage`: what was used, by whom, and what that would have cost elsewhere."""

import argparse
import asyncio
import datetime as dt
import time

from embedsvc.config import Settings
from embedsvc.operator.cost import is_there
from embedsvc.operator.numbers import whole_days
from embedsvc.operator.opening import opened_store
from embedsvc.operator.shown import FORMS, Column, moment, show
from embedsvc.operator.usage import GROUPS, Group, columns, report
from embedsvc.periods import DAY
from embedsvc.store.protocols import Store

DAYS = 30
FAILURES = (
    Column("last", "last"),
    Column("key prefix", "key_prefix"),
    Column("reason", "reason"),
    Column("address", "address"),
    Column("count", "count", number=True),
    Column("first", "first"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument(
        "--days", type=whole_days, default=DAYS, help="the last days, UTC; default: %(default)s"
    )
    parser.add_argument(
        "--by", type=_groups, default="key,model,day", help=f"of {', '.join(GROUPS)}; default: %(default)s"
    )
    parser.add_argument("--failures", action="store_true", help="failed authentications instead")
    parser.add_argument("--format", choices=FORMS, default="table")


def _groups(text: str) -> list[Group]:
    names = [name.strip() for name in text.split(",")]
    found = [group for name in names for group in GROUPS if group == name]
    if len(set(found)) < len(names):
        raise argparse.ArgumentTypeError(f"must be some of {', '.join(GROUPS)}, with commas between them")
    return found


def run(settings: Settings, options: argparse.Namespace) -> None:
    """Print a report. Raises ConfigurationError."""
    asyncio.run(_run(settings, options))


async def _run(settings: Settings, options: argparse.Namespace) -> None:
    async with opened_store(settings) as store:
        if options.failures:
            await _show_failures(store, options)
        else:
            await _show_usage(store, settings, options)


async def _show_usage(store: Store, settings: Settings, options: argparse.Namespace) -> None:
    by = options.by
    today = dt.datetime.now(dt.UTC).date()
    first = today - dt.timedelta(days=options.days - 1)
    rows = await store.usage(first.isoformat(), today.isoformat())
    keys = {key.digest: key for key in await store.list_keys()}
    found = report(rows, keys, by, lambda model: not is_there(model, settings))
    show(columns(by), found, options.format)


async def _show_failures(store: Store, options: argparse.Namespace) -> None:
    found = await store.failures(time.time() - options.days * DAY)
    rows = [
        (moment(row.last_at), row.prefix, row.reason, row.address, row.count, moment(row.first_at))
        for row in found
    ]
    show(FAILURES, rows, options.format)
