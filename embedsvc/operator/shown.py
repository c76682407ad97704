"""Tables, and the form of times and amounts in them."""

import csv
import datetime as dt
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Form = Literal["table", "csv", "json"]
FORMS: Sequence[Form] = ("table", "csv", "json")

Cell = str | int | float | None

CENT = 0.01

WIDE = 10_000
"""Columns of what is no terminal: each row is a line."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: what people read above it, and what programs call it."""

    title: str
    name: str
    number: bool = False


def show(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], form: Form) -> None:
    """Write rows to standard output."""
    match form:
        case "json":
            names = [column.name for column in columns]
            found = [dict(zip(names, row, strict=True)) for row in rows]
            print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        case "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(column.name for column in columns)
            writer.writerows(rows)
        case "table":
            _show_table(columns, rows)


def _show_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(written(cell)) for cell in row))  # as text, so that no name is taken for markup
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def written(cell: Cell) -> str:
    """A cell as people read it."""
    match cell:
        case None:
            return "-"
        case int():
            return f"{cell:,}"
        case float():  # what is less than a cent is something, too
            return f"{cell:.6f}" if 0 < cell < CENT else f"{cell:,.2f}"
        case _:
            return cell


def moment(seconds: float | None) -> str | None:
    """A time (UTC) to the minute; None where there is none."""
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M")
