"""Runs a comparison from its arguments to its table and its page."""

import argparse
import asyncio
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError
from embedsvc.operator.client import dial
from embedsvc.operator.comparison.agreement import agree
from embedsvc.operator.comparison.corpus import Corpus, read_lines, read_two
from embedsvc.operator.comparison.costs import price
from embedsvc.operator.comparison.measuring import Measured, measure, work
from embedsvc.operator.comparison.relevance import judge
from embedsvc.operator.comparison.report import COLUMNS, Report, rows
from embedsvc.operator.opening import opened_store
from embedsvc.operator.routes import meanings
from embedsvc.operator.shown import moment, show

NAMED = 5
"""Refused texts that are named on standard error; a page has more."""


def compare(settings: Settings, options: argparse.Namespace) -> None:
    """Compare two models.

    Args:
        settings: The configuration.
        options: What `compare_command` has taken.

    Raises:
        ConfigurationError: Something that is needed is not there, or the server does not answer.
    """
    if options.html is not None:
        _check_page(options.html)
    corpus = _read(options)
    with _progress() as progress:
        measured = asyncio.run(_measure(settings, options, corpus, progress))
        report = _report(settings, measured, progress)
    _tell_refused(measured)
    show(COLUMNS, [row.cells for row in rows(report)], options.format)
    if options.html is not None:
        _write_page(report, options)


def _read(options: argparse.Namespace) -> Corpus:
    match options.file, options.queries, options.documents:
        case Path() as path, None, None:
            return read_lines(path)
        case None, Path() as queries, Path() as documents:
            return read_two(queries, documents)
        case _:
            raise ConfigurationError("migrate compare: name a FILE, or both --queries and --documents")


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


async def _measure(
    settings: Settings, options: argparse.Namespace, corpus: Corpus, progress: Progress
) -> Measured:
    names = tuple(options.sides) if options.sides else await _sides(settings, options.alias)
    task = progress.add_task("embedding", total=work(corpus))
    async with dial(settings, options) as client:
        return await measure(client.compute, names, corpus, lambda done: progress.advance(task, done))


async def _sides(settings: Settings, alias: str | None) -> tuple[str, str]:
    """The two models of a route: that of an alias, or the only one."""
    async with opened_store(settings) as store:
        found = meanings(settings, await store.list_routes()).by_alias
    routes = [meaning.route for meaning in found.values() if meaning.route.other]
    pairs = sorted({(route.model, route.other) for route in routes if alias in (None, route.alias)})
    if len(pairs) != 1:
        whose = f"{alias} has no other side" if alias else f"{len(pairs)} pairs of models have a route"
        raise ConfigurationError(f"migrate compare: {whose}: name two models with --sides A B")
    return pairs[0]


def _report(settings: Settings, measured: Measured, progress: Progress) -> Report:
    one, other = measured.sides
    task = progress.add_task("comparing", total=len(measured.corpus.queries))
    agreement = agree(one.space, other.space, lambda done: progress.advance(task, done))
    relevant = measured.corpus.relevant
    found_one, found_other = agreement.nearest
    judged = (judge(found_one, relevant), judge(found_other, relevant)) if relevant else None
    return Report(measured, agreement, (price(settings, one), price(settings, other)), judged)


def _tell_refused(measured: Measured) -> None:
    if not (count := len(measured.refused)):
        return
    print(f"texts that were refused, and are left out on both sides: {count}", file=sys.stderr)
    for line in measured.refused[:NAMED]:
        print(f"  {line}", file=sys.stderr)


def _check_page(path: Path) -> None:
    """Raise ConfigurationError where a page could not be made: before hours of work, not after."""
    if find_spec("matplotlib") is None:
        raise ConfigurationError(
            "--html needs matplotlib, which the extra `compare` has: "
            "pip install --requirement requirements/compare.txt"
        )
    if not path.parent.is_dir():
        raise ConfigurationError(f"--html {path}: there is no such folder")


def _write_page(report: Report, options: argparse.Namespace) -> None:
    from embedsvc.operator.comparison import page  # noqa: PLC0415 - for those who have the extra

    source = options.file or f"{options.queries} and {options.documents}"
    made = f"Made by embedsvc migrate compare from {source}, {moment(time.time())} (UTC)."
    try:
        options.html.write_text(page.render(report, made), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--html {options.html}: {error}") from None
    print(f"the page is {options.html}", file=sys.stderr)
