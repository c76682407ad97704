"""What `embedsvc keys` takes on the command line."""

import argparse
import time
from pathlib import Path
from typing import get_args

from embedsvc.config.trust import Call
from embedsvc.operator import numbers
from embedsvc.operator.keys import check_name
from embedsvc.periods import DAY
from embedsvc.store.records import InjectionPolicy, KeyRecord, Limits

LIMITS = ("requests_per_minute", "tokens_per_minute", "quota_requests", "quota_tokens")
ROTATE_DAYS = 30.0
OVERLAP_DAYS = 7.0


def draft(options: argparse.Namespace) -> KeyRecord:
    """What a new key is to be. Raises ConfigurationError where it has an impossible name."""
    life = options.expires_days
    return KeyRecord(
        digest="",
        prefix="",
        name=check_name("a key's name", options.name),
        owner=check_name("--owner", options.owner) if options.owner else "",
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
        cache=options.cache,
        expires_at=None if life is None else time.time() + life * DAY,
    )


def add_draft(parser: argparse.ArgumentParser) -> None:
    """Take what a new key is to be."""
    parser.add_argument("name", help="what logs and tables call it")
    parser.add_argument("--owner", default="", help="whose it is")
    parser.add_argument("--model", action="append", default=[], help="a model that it may use; default: all")
    parser.add_argument(
        "--call", action="append", default=[], choices=get_args(Call), help="what it may call; default: all"
    )
    for limit in LIMITS:
        parser.add_argument(f"--{limit.replace('_', '-')}", type=numbers.count, metavar="N")
    parser.add_argument(
        "--quota-seconds", type=numbers.count, default=3600, metavar="S", help="default: 3600"
    )
    parser.add_argument(
        "--expires-days", type=numbers.lifetime, metavar="D", help="how long it works; default: for ever"
    )
    policies = [str(policy) for policy in InjectionPolicy]
    parser.add_argument("--injection", choices=policies, help="default: as the server has it")
    parser.add_argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="its texts are never looked up in the cache, nor kept there",
    )


def add_rotate(parser: argparse.ArgumentParser) -> None:
    """Take which keys are to be rotated, and how."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("key", nargs="?", help="its name, prefix or digest")
    which.add_argument("--due", action="store_true", help="all that are as old as --days; needs --out")
    parser.add_argument("--days", type=numbers.days, default=ROTATE_DAYS, help="default: %(default)s")
    parser.add_argument(
        "--overlap-days",
        type=numbers.days,
        default=OVERLAP_DAYS,
        help="how long the old key works on; default: %(default)s",
    )
    add_out(parser)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Take which key is meant."""
    parser.add_argument("key", help="its name, prefix or digest")


def add_out(parser: argparse.ArgumentParser) -> None:
    """Take where keys go."""
    parser.add_argument("--out", type=Path, help="write keys into files of this folder, and show none")


def add_import(parser: argparse.ArgumentParser) -> None:
    """Take where the keys are that are to be imported."""
    parser.add_argument(
        "file", type=Path, help="a line for each: its SHA-256 in hexadecimal or itself, a space, a name"
    )
