"""What `embedsvc migrate` takes on the command line."""

import argparse
from collections.abc import Mapping
from typing import Any

from embedsvc.operator.numbers import between
from embedsvc.routing.route import SAID

percent = between(0.0, 100.0)

ALONE: Mapping[str, Any] = {"other": "", "share": 100.0, "shadow": 0.0, "fallback": False}
"""What `--no-other` says."""


def said(options: argparse.Namespace) -> Mapping[str, Any]:
    """What is to be otherwise, by the name of a route's field."""
    given = {name: getattr(options, name) for name in SAID}
    told = {name: value for name, value in given.items() if value is not None}
    return {**ALONE, **told} if options.no_other else told


def add_alias(parser: argparse.ArgumentParser) -> None:
    """Take which alias is meant."""
    parser.add_argument("alias", help="the name that callers send")


def add_set(parser: argparse.ArgumentParser) -> None:
    """Take what is to be otherwise; what is not said stays as it is."""
    add_alias(parser)
    parser.add_argument("--model", help="the model that answers --share percent of the callers")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--other", metavar="MODEL", help="the model on the other side, which answers the rest")
    other.add_argument("--no-other", action="store_true", help="there is no other side any more")
    parser.add_argument("--share", type=percent, metavar="P", help="percent of callers that --model answers")
    parser.add_argument(
        "--sticky", choices=("key", "index"), help="what keeps a caller on its side: its key, or its index"
    )
    parser.add_argument(
        "--shadow", type=percent, metavar="P", help="percent of requests also sent to the other side"
    )
    parser.add_argument(
        "--fallback",
        action=argparse.BooleanOptionalAction,
        help="whether the other side may answer while the one that should is down",
    )
