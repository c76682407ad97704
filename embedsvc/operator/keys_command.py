"""`embedsvc keys`: makes, lists, rotates and revokes API keys."""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError
from embedsvc.operator import handover, importing, keys
from embedsvc.operator import keys_arguments as arguments
from embedsvc.operator.opening import opened_store
from embedsvc.operator.shown import FORMS, Column, moment, show
from embedsvc.periods import DAY
from embedsvc.store.protocols import Store, StoreError
from embedsvc.store.records import KeyRecord

Action = Callable[[Store, argparse.Namespace], Awaitable[None]]

COLUMNS = (
    Column("prefix", "prefix"),
    Column("name", "name"),
    Column("owner", "owner"),
    Column("state", "state"),
    Column("cache", "cache"),
    Column("created", "created"),
    Column("expires", "expires"),
    Column("last use", "last_use"),
)


def run(settings: Settings, options: argparse.Namespace) -> None:
    """Run one of the commands below. Raises ConfigurationError."""
    asyncio.run(_run(settings, options))


async def _run(settings: Settings, options: argparse.Namespace) -> None:
    _check_models(options, settings.known_models)
    async with opened_store(settings, make=options.makes) as store:
        await options.action(store, options)


def _check_models(options: argparse.Namespace, served: Sequence[str]) -> None:
    for name in getattr(options, "model", ()):
        if name not in served:
            raise ConfigurationError(
                f"--model: {name} is not served; models are named by their own names: {', '.join(served)}"
            )


def add_parsers(parser: argparse.ArgumentParser) -> None:
    """Say what there is."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a key, and show it once")
    create.set_defaults(action=_create, makes=True)
    arguments.add_draft(create)
    arguments.add_out(create)
    listing = commands.add_parser("list", help="list keys")
    listing.add_argument("--all", action="store_true", help="also those that work no more")
    listing.add_argument("--format", choices=FORMS, default="table")
    listing.set_defaults(action=_list, makes=False)
    shown = commands.add_parser("show", help="show all that is kept of a key, as JSON")
    arguments.add_selection(shown)
    shown.set_defaults(action=_show, makes=False)
    rotate = commands.add_parser("rotate", help="make a successor; the old key works for a while longer")
    arguments.add_rotate(rotate)
    rotate.set_defaults(action=_rotate, makes=False)
    revoke = commands.add_parser("revoke", help="let a key work no more; by its name, its predecessors too")
    arguments.add_selection(revoke)
    revoke.set_defaults(action=_revoke, makes=False)
    imported = commands.add_parser("import", help="take over keys that were made elsewhere")
    arguments.add_import(imported)
    imported.set_defaults(action=_import, makes=True)


async def _create(store: Store, options: argparse.Namespace) -> None:
    made = keys.make(arguments.draft(options))
    keys.refuse_second(await store.list_keys(), made.record.name)
    path = await _place(store, options.out, made.record.name)
    with handover.handing_over(made, path):
        await keys.create(store, made)
    print(f"{made.record.name} is kept in {store.name}, where servers must look for it", file=sys.stderr)


async def _list(store: Store, options: argparse.Namespace) -> None:
    now = time.time()
    found = [(key, keys.state_of(key, now)) for key in await store.list_keys()]
    rows = [
        (
            keys.handle(key),
            key.name,
            key.owner,
            state,
            "yes" if key.cache else "no",
            *map(moment, (key.created_at, key.expires_at, key.used_at)),
        )
        for key, state in found
        if options.all or state in ("active", "rotated")
    ]
    show(COLUMNS, rows, options.format)


async def _show(store: Store, options: argparse.Namespace) -> None:
    key = keys.select(await store.list_keys(), options.key)
    shown = {**asdict(key), "state": keys.state_of(key, time.time())}
    print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())


async def _rotate(store: Store, options: argparse.Namespace) -> None:
    known = await store.list_keys()
    if not options.due:
        await _rotate_one(store, keys.select(known, options.key), options)
        return
    if options.out is None:
        raise ConfigurationError("keys rotate --due needs --out: a timer's output is somebody's log")
    failures = []
    for old in keys.due(known, options.days * DAY):
        try:
            await _rotate_one(store, old, options)
        except (ConfigurationError, StoreError) as error:  # which is no reason to let the others grow old
            failures.append(f"{old.name} ({keys.handle(old)}) is not rotated: {error}")
    if failures:
        raise ConfigurationError("; ".join(failures))


async def _rotate_one(store: Store, old: KeyRecord, options: argparse.Namespace) -> None:
    made = keys.succeed(old)
    path = await _place(store, options.out, old.name, replaced=old.digest)
    with handover.handing_over(made, path):
        await keys.rotate(store, old, made, options.overlap_days * DAY)
    (ended,) = (await store.find_keys([old.digest])).values()
    until = moment(ended.expires_at)
    print(f"{old.name}: the old key, {keys.handle(old)}, works until {until} (UTC)", file=sys.stderr)


async def _place(store: Store, folder: Path | None, name: str, replaced: str = "") -> Path | None:
    """Choose the file for a key, which may be there: a key that counts no more, or the one that is replaced.

    Raises:
        ConfigurationError: Another key is in it, which would be nowhere then.
    """
    if folder is None:
        return None
    path = handover.file_of(folder, name)
    held = handover.held(path)
    if held not in (None, replaced):
        found = await store.find_keys([held])
        if not found or keys.state_of(found[held], time.time()) == "active":
            raise ConfigurationError(f"--out: {path} holds another key, which may be in use")
    return path


async def _revoke(store: Store, options: argparse.Namespace) -> None:
    for key in keys.working(await store.list_keys(), options.key):
        await store.revoke_key(key.digest, time.time())
        print(f"{key.name} ({keys.handle(key)}) stops working everywhere within 60 seconds", file=sys.stderr)


async def _import(store: Store, options: argparse.Namespace) -> None:
    try:
        text = options.file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"import {options.file}: {error}") from None
    found = importing.read(text)
    known = await store.find_keys([key.digest for key in found])
    new = [key for key in found if key.digest not in known]
    for key in new:
        await store.create_key(key)
    print(f"{len(new)} keys imported, {len(known)} were there already", file=sys.stderr)
