"""`embedsvc migrate compare`: how two models differ for one's own texts, before one replaces the other."""

import argparse
from pathlib import Path

from embedsvc.config import Settings
from embedsvc.operator.client import add_connection_arguments
from embedsvc.operator.shown import FORMS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        help='a line for each text: {"query": TEXT} or {"document": TEXT}; a document may have an "id", '
        'and a query in "relevant" the ids of the documents that answer it',
    )
    parser.add_argument("--queries", type=Path, metavar="FILE", help="instead: a query a line, and with it")
    parser.add_argument("--documents", type=Path, metavar="FILE", help="a document a line")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--alias", help="compare the two sides of its route; default: of the only one there is"
    )
    which.add_argument(
        "--sides", nargs=2, metavar=("A", "B"), help="compare these models, by their own names"
    )
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write a page with plots, too")
    parser.add_argument("--format", choices=FORMS, default="table")
    add_connection_arguments(parser)


def run(settings: Settings, options: argparse.Namespace) -> None:
    """Compare, print a table, and write the page. Raises ConfigurationError."""
    from embedsvc.operator.comparison import running  # noqa: PLC0415 - scipy takes more than a second

    running.compare(settings, options)
