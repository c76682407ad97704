"""`embedsvc keys`: makes, lists, rotates and revokes API keys."""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import orjson

from embedsvc.config import Settings
from embedsvc.config.trust import Call
from embedsvc.errors import ConfigurationError
from embedsvc.operator import keys
from embedsvc.operator.keys import DAY, Made
from embedsvc.operator.opening import opened_store
from embedsvc.operator.shown import FORMS, Column, moment, show
from embedsvc.store.protocols import Store
from embedsvc.store.records import InjectionPolicy, KeyRecord, Limits

Action = Callable[[Store, argparse.Namespace], Awaitable[None]]

LIMITS = ("requests_per_minute", "tokens_per_minute", "quota_requests", "quota_tokens")
ROTATE_DAYS = 30.0
OVERLAP_DAYS = 7.0
COLUMNS = (
    Column("prefix", "prefix"),
    Column("name", "name"),
    Column("owner", "owner"),
    Column("state", "state"),
    Column("created", "created"),
    Column("expires", "expires"),
    Column("last use", "last_use"),
)


def run(settings: Settings, options: argparse.Namespace) -> None:
    """Run one of the commands below. Raises ConfigurationError."""
    asyncio.run(_run(settings, options))


async def _run(settings: Settings, options: argparse.Namespace) -> None:
    async with opened_store(settings) as store:
        await options.action(store, options)


def add_parsers(parser: argparse.ArgumentParser) -> None:
    """Say what there is."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a key, and show it once")
    create.set_defaults(action=_create)
    _add_draft(create)
    _add_out(create)
    listing = commands.add_parser("list", help="list keys")
    listing.add_argument("--all", action="store_true", help="also those that work no more")
    listing.add_argument("--format", choices=FORMS, default="table")
    listing.set_defaults(action=_list)
    shown = commands.add_parser("show", help="show all that is kept of a key, as JSON")
    _add_selection(shown)
    shown.set_defaults(action=_show)
    _add_rotate(commands.add_parser("rotate", help="make a successor; the old key works for a while longer"))
    revoke = commands.add_parser("revoke", help="let a key work no more; by its name, its predecessors too")
    _add_selection(revoke)
    revoke.set_defaults(action=_revoke)
    imported = commands.add_parser("import", help="take over keys from a file of digests and names")
    imported.add_argument("file", type=Path, help="a line for each: SHA-256 in hexadecimal, a space, a name")
    imported.set_defaults(action=_import)


def _add_draft(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="what logs and tables call it")
    parser.add_argument("--owner", default="", help="whose it is")
    parser.add_argument("--model", action="append", default=[], help="a model that it may use; default: all")
    parser.add_argument(
        "--call", action="append", default=[], choices=get_args(Call), help="what it may call; default: all"
    )
    for limit in LIMITS:
        parser.add_argument(f"--{limit.replace('_', '-')}", type=_positive, metavar="N")
    parser.add_argument("--quota-seconds", type=_positive, default=3600, metavar="S", help="default: 3600")
    parser.add_argument(
        "--expires-days", type=float, metavar="D", help="how long it works; default: for ever"
    )
    parser.add_argument("--injection", choices=list(InjectionPolicy), help="default: as the server has it")


def _add_rotate(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("key", nargs="?", help="its name, prefix or digest")
    which.add_argument("--due", action="store_true", help="all that are older than --days; needs --out")
    parser.add_argument("--days", type=float, default=ROTATE_DAYS, help="default: %(default)s")
    parser.add_argument(
        "--overlap-days", type=float, default=OVERLAP_DAYS, help="the old key's time; default: %(default)s"
    )
    _add_out(parser)
    parser.set_defaults(action=_rotate)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", help="its name, prefix or digest")


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="write keys into files of this folder, and show none")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


async def _create(store: Store, options: argparse.Namespace) -> None:
    expires = time.time() + options.expires_days * DAY if options.expires_days else None
    draft = KeyRecord(
        digest="",
        prefix="",
        name=keys.check_name("a key's name", options.name),
        owner=keys.check_name("--owner", options.owner) if options.owner else "",
        models=tuple(options.model),
        calls=tuple(options.call),
        limits=Limits(
            options.requests_per_minute,
            options.tokens_per_minute,
            options.quota_requests,
            options.quota_tokens,
            options.quota_seconds,
        ),
        injection=InjectionPolicy(options.injection) if options.injection else None,
        expires_at=expires,
    )
    _hand_over(await keys.create(store, draft), options.out)


async def _list(store: Store, options: argparse.Namespace) -> None:
    now = time.time()
    found = [(key, keys.state_of(key, now)) for key in await store.list_keys()]
    rows = [
        (key.prefix, key.name, key.owner, state, *map(moment, (key.created_at, key.expires_at, key.used_at)))
        for key, state in found
        if options.all or state in ("active", "rotated")
    ]
    show(COLUMNS, rows, options.format)


async def _show(store: Store, options: argparse.Namespace) -> None:
    key = keys.select(await store.list_keys(), options.key)
    shown = {**asdict(key), "state": keys.state_of(key, time.time())}
    print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())


async def _rotate(store: Store, options: argparse.Namespace) -> None:
    overlap = options.overlap_days * DAY
    if not options.due:
        old = keys.select(await store.list_keys(), options.key)
        _hand_over(await keys.rotate(store, old, overlap), options.out)
        return
    if options.out is None:
        raise ConfigurationError("keys rotate --due needs --out: a timer's output is somebody's log")
    for old in keys.due(await store.list_keys(), options.days * DAY):
        _hand_over(await keys.rotate(store, old, overlap), options.out)


async def _revoke(store: Store, options: argparse.Namespace) -> None:
    for key in keys.working(await store.list_keys(), options.key):
        await store.revoke_key(key.digest, time.time())
        print(f"{key.name} ({key.prefix}…) stops working everywhere within 60 seconds", file=sys.stderr)


async def _import(store: Store, options: argparse.Namespace) -> None:
    try:
        text = options.file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"import {options.file}: {error}") from None
    found = keys.read_import(text)
    known = await store.find_keys([key.digest for key in found])
    new = [key for key in found if key.digest not in known]
    for key in new:
        await store.create_key(key)
    print(f"{len(new)} keys imported, {len(known)} were there already", file=sys.stderr)


def _hand_over(made: Made, folder: Path | None) -> None:
    """Give a key to the operator: on standard output, or in a file that only its owner can read."""
    if folder is None:
        print(made.key)
        print(f"{made.record.name}: this key is shown once; only its SHA-256 is kept", file=sys.stderr)
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{made.record.name.replace('/', '_').replace(' ', '_')}.key"
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(f"{made.key}\n")
    fresh.replace(path)
    print(f"{made.record.name}: {path}", file=sys.stderr)
