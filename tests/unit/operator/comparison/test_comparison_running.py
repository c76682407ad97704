"""`embedsvc migrate compare`: what it is told on the command line, and what it says before it begins."""

import json

import pytest

from embedsvc.operator.comparison import running
from embedsvc.store.records import RouteRecord

SIDES = ("--sides", "model-a", "model-b")


@pytest.fixture
def texts(shell):
    path = shell.folder / "texts.jsonl"
    rows = [{"query": "a"}, *({"document": f"text {at}"} for at in range(10))]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def route(shell, alias, model="all-mpnet-base-v2", other="all-MiniLM-L6-v2"):
    shell.ask(lambda store: store.set_route(RouteRecord(alias, model, other, share=50.0)))


@pytest.mark.parametrize(
    "given", [(), ("--queries", "q"), ("--documents", "d"), ("f", "--queries", "q", "--documents", "d")]
)
def test_texts_come_from_one_file_or_from_two(shell, given):
    err = shell("migrate", "compare", *given, *SIDES, status=2).err
    assert "name a FILE, or both --queries and --documents" in err


def test_a_bad_line_is_told_before_a_server_is_called(shell, texts):
    texts.write_text("oops")
    assert "texts.jsonl line 1: must be" in shell("migrate", "compare", texts, *SIDES, status=2).err


def test_a_page_that_could_not_be_written_is_told_before_the_work(shell, texts):
    page = shell.folder / "nowhere" / "page.html"
    err = shell("migrate", "compare", texts, *SIDES, "--html", page, status=2).err
    assert f"--html {page}: there is no such folder" in err


def test_without_matplotlib_a_page_is_refused_with_what_to_install(shell, texts, monkeypatch):
    monkeypatch.setattr(running, "find_spec", lambda name: None if name == "matplotlib" else name)
    err = shell("migrate", "compare", texts, *SIDES, "--html", "page.html", status=2).err
    assert "the extra `compare` has: pip install --requirement requirements/compare.txt" in err


def test_what_is_needed_for_a_connection_is_named(shell, texts):
    assert ".run/certs/ca.crt: No such file" in shell("migrate", "compare", texts, *SIDES, status=2).err


def test_an_alias_and_two_sides_are_not_both_taken(shell, texts):
    with pytest.raises(SystemExit):
        shell("migrate", "compare", texts, *SIDES, "--alias", "texts")


def test_without_a_route_two_sides_must_be_named(shell, texts):
    err = shell("migrate", "compare", texts, status=2).err
    assert "0 pairs of models have a route: name two models with --sides A B" in err


def test_an_alias_without_another_side_cannot_be_compared(shell, texts):
    err = shell("migrate", "compare", texts, "--alias", "text-embedding-3-small", status=2).err
    assert "text-embedding-3-small has no other side" in err


def test_of_several_routes_one_must_be_named(shell, texts):
    route(shell, "one")
    route(shell, "other", "all-MiniLM-L6-v2", "all-mpnet-base-v2")
    assert "2 pairs of models have a route" in shell("migrate", "compare", texts, status=2).err
    for given in (("--alias", "one"), ("--alias", "other")):
        assert ".run/certs/ca.crt" in shell("migrate", "compare", texts, *given, status=2).err


def test_several_names_for_the_same_two_models_are_one_pair(shell, texts):
    route(shell, "one")
    route(shell, "two")
    assert ".run/certs/ca.crt" in shell("migrate", "compare", texts, status=2).err
