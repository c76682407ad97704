"""operator.shown: rows as people, spreadsheets and programs read them."""

import csv
import io
import json

import pytest

from embedsvc.operator.shown import Column, moment, show

COLUMNS = (Column("name", "name"), Column("last use", "last_use"), Column("tokens", "tokens", number=True))
ROWS = [("alice", None, 1_234_567), ("bob, the builder", "2026-11-25 20:00", 0.126)]


def test_json_is_a_list_of_objects_by_the_columns_names(capsys):
    show(COLUMNS, ROWS, "json")
    assert json.loads(capsys.readouterr().out) == [
        {"name": "alice", "last_use": None, "tokens": 1234567},
        {"name": "bob, the builder", "last_use": "2026-11-25 20:00", "tokens": 0.126},
    ]


def test_csv_has_the_columns_names_first_and_numbers_as_they_are(capsys):
    show(COLUMNS, ROWS, "csv")
    assert capsys.readouterr().out == (
        'name,last_use,tokens\nalice,,1234567\n"bob, the builder",2026-11-25 20:00,0.126\n'
    )


def test_a_table_has_the_columns_titles_and_numbers_that_people_can_read(capsys):
    show(COLUMNS, ROWS, "table")
    title, _, *rows = [line.split("  ") for line in capsys.readouterr().out.splitlines() if line.strip()]
    words = [[word.strip() for word in row if word.strip()] for row in (title, *rows)]
    assert words == [
        ["name", "last use", "tokens"],
        ["alice", "-", "1,234,567"],
        ["bob, the builder", "2026-11-25 20:00", "0.13"],
    ]


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_nothing_is_shown_as_nothing_under_its_columns(capsys, form):
    show(COLUMNS, [], form)
    out = capsys.readouterr().out
    if form == "json":
        assert out == "[]\n"
    else:
        assert "name" in out


@pytest.mark.parametrize(
    "name", ["[red]alice[/red]", "[link=https://evil]a", ":boom:", "[", "{alice}", "a\\[b]"]
)
def test_a_table_takes_no_name_for_markup(capsys, name):
    show(COLUMNS, [(name, None, 1)], "table")
    assert name in capsys.readouterr().out


def test_a_table_that_nobody_looks_at_has_a_line_for_each_row_however_wide(capsys):
    columns = [Column(f"column {at}", str(at)) for at in range(20)]
    show(columns, [["x" * 40] * 20] * 3, "table")
    assert len([line for line in capsys.readouterr().out.splitlines() if "x" in line]) == 3


@pytest.mark.parametrize("cell", ['a "quoted" b', "a,b", "a\nb", "a;b", "  a "])
def test_csv_quotes_what_a_reader_would_split(capsys, cell):
    show(COLUMNS, [(cell, None, 1)], "csv")
    assert list(csv.reader(io.StringIO(capsys.readouterr().out, newline="")))[1] == [cell, "", "1"]


def test_a_moment_is_in_utc_to_the_minute():
    assert moment(0.0) == "1970-01-01 00:00"
    assert moment(1_796_000_000.9) == "2026-11-30 00:53"


def test_no_moment_is_none():
    assert moment(None) is None
