"""report: a list for people, JSON for programs."""

import io
import json

import pytest
from rich.console import Console

from embedsvc.doctor.finding import Subject
from embedsvc.doctor.report import as_json, show

PORTS, DISK = Subject("ports"), Subject("disk")
FINDINGS = [
    PORTS.ok("8080 is free"),
    PORTS.error("[bold] 8443 is taken", "stop who has it"),
    DISK.warning("little room", "make some"),
    DISK.note("slow"),
]


def shown(findings, width=200):
    out = io.StringIO()
    show(findings, Console(file=out, width=width))
    return out.getvalue()


def test_people_read_what_was_seen_how_bad_it_is_and_what_to_do_by_subject():
    assert shown(FINDINGS) == (
        "ports\n"
        "  ok       8080 is free\n"
        "  error    [bold] 8443 is taken\n"
        "           → stop who has it\n"
        "disk\n"
        "  warning  little room\n"
        "           → make some\n"
        "  note     slow\n"
        "\n"
        "1 ok, 1 note, 1 warning, 1 error\n"
    )


def test_on_a_narrow_terminal_lines_keep_their_margin_and_paths_stay_whole():
    path = "/a/path/that-is/longer-than/the-terminal-is/wide"
    assert shown([DISK.error(f"there is no room in {path}", "")], width=30) == (
        f"disk\n  error    there is no room in\n           {path}\n\n1 error\n"
    )


def test_programs_read_a_list():
    assert json.loads(as_json(FINDINGS))[1] == {
        "subject": "ports",
        "level": "error",
        "seen": "[bold] 8443 is taken",
        "advice": "stop who has it",
    }


@pytest.mark.parametrize(
    ("findings", "said"),
    [([PORTS.ok("")], "1 ok"), ([PORTS.error("", "")] * 2, "2 errors"), ([PORTS.note("")] * 2, "2 notes")],
)
def test_the_last_line_counts(findings, said):
    assert shown(findings).splitlines()[-1] == said
