"""`embedsvc migrate`: what aliases stand for, changed while servers run."""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError
from embedsvc.operator import compare_command
from embedsvc.operator import migrate_arguments as arguments
from embedsvc.operator.opening import opened_store
from embedsvc.operator.route_changes import differences, warnings
from embedsvc.operator.routes import COLUMNS, change, checked, meanings
from embedsvc.operator.shown import FORMS, show
from embedsvc.routing.feed import POLL_SECONDS
from embedsvc.routing.route import Route
from embedsvc.store.protocols import Store


def add_parsers(parser: argparse.ArgumentParser) -> None:
    """Say what there is: each is a command of its own, as those of `cli.py` are."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="show what aliases stand for, and who said so")
    status.add_argument("--format", choices=FORMS, default="table")
    status.set_defaults(command=show_status)
    setting = commands.add_parser("set", help="change what an alias stands for, without a restart")
    arguments.add_set(setting)
    setting.set_defaults(command=set_route)
    reset = commands.add_parser("reset", help="forget what `set` said of an alias")
    arguments.add_alias(reset)
    reset.set_defaults(command=reset_route)
    compare = commands.add_parser("compare", help="see how two models differ for your own texts")
    compare_command.add_arguments(compare)
    compare.set_defaults(command=compare_command.run)


def show_status(settings: Settings, options: argparse.Namespace) -> None:
    """Print what aliases stand for. Raises ConfigurationError."""
    asyncio.run(_show_status(settings, options))


def set_route(settings: Settings, options: argparse.Namespace) -> None:
    """Change what an alias stands for. Raises ConfigurationError."""
    said = arguments.said(options)
    if not said:
        raise ConfigurationError("migrate set: say what is to change, such as --share 50")
    asyncio.run(_set(settings, options.alias, said))


def reset_route(settings: Settings, options: argparse.Namespace) -> None:
    """Forget what `set` said. Raises ConfigurationError."""
    asyncio.run(_reset(settings, options.alias))


async def _show_status(settings: Settings, options: argparse.Namespace) -> None:
    async with opened_store(settings) as store:
        found = meanings(settings, await store.list_routes())
    show(COLUMNS, [meaning.cells for meaning in found.shown], options.format)
    _tell_passed_over(found.passed_over)


async def _set(settings: Settings, alias: str, said: Mapping[str, Any]) -> None:
    async with opened_store(settings) as store:
        now = meanings(settings, await store.list_routes()).by_alias.get(alias)
        record = change(alias, now, said, time.time())
        new = checked(record, settings)
        await store.set_route(record)
        _tell(now.route if now else None, new)
        _tell_when(store)


async def _reset(settings: Settings, alias: str) -> None:
    async with opened_store(settings) as store:
        found = meanings(settings, await store.list_routes())
        now, then = found.by_alias.get(alias), found.before.get(alias)
        if alias not in found.passed_over and (now is None or now.said_by != "store"):
            raise ConfigurationError(f"{alias}: `migrate set` has said nothing of it")
        await store.remove_route(alias)
        if then is None:
            print(f"{alias}: stands for no model any more")
        else:
            print(f"{alias}: as the {then.said_by} says")
            _tell(now.route if now else then.route, then.route)
        _tell_when(store)


def _tell(old: Route | None, new: Route) -> None:
    """Print what changes, and on standard error what follows from it; nobody is moved who was not there."""
    for line in differences(old or Route(new.alias, "none"), new) or [f"{new.alias}: nothing changes"]:
        print(line)
    for line in warnings(old or replace(new, fallback=False), new):
        print(line, file=sys.stderr)


def _tell_when(store: Store) -> None:
    print(f"servers that use {store.name} take it up within {POLL_SECONDS:g} seconds", file=sys.stderr)


def _tell_passed_over(passed_over: Mapping[str, str]) -> None:
    for alias, reason in passed_over.items():
        print(f"{alias}: what `migrate set` said of it does not count: {reason}", file=sys.stderr)
