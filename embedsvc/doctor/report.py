"""Shows findings: a list for people, JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from textwrap import fill

import orjson
from rich.console import Console
from rich.text import Text

from embedsvc.doctor.finding import LEVELS, Finding, Level

STYLES: dict[Level, str] = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}
WIDE = 10_000
"""Columns of what is no terminal: each finding is a line."""

INDENT = 11


def show(findings: Sequence[Finding], console: Console) -> None:
    """Write what was found, by subject, and what to do below each."""
    for subject, group in groupby(findings, lambda finding: finding.subject):
        console.print(Text(subject, "bold"))
        for finding in group:
            seen = Text(_wrapped(f"  {finding.level:<{INDENT - 2}}{finding.seen}", console))
            seen.stylize(STYLES[finding.level], 0, INDENT)
            _print(console, seen)
            if finding.advice:
                _print(console, Text(_wrapped(f"{'':{INDENT}}→ {finding.advice}", console), "italic"))
    console.print(_sum(findings))


def _wrapped(line: str, console: Console) -> str:
    """Text with a margin. Paths and commands stay in one piece, to be copied."""
    margin = " " * INDENT
    return fill(line, console.width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False)


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)  # as text, so that no path is taken for markup


def as_json(findings: Sequence[Finding]) -> str:
    """The same, for programs."""
    return orjson.dumps([asdict(finding) for finding in findings], option=orjson.OPT_INDENT_2).decode()


def _sum(findings: Sequence[Finding]) -> Text:
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    said = [
        f"{count} {level}{'s' if count > 1 and level != 'ok' else ''}"
        for level, count in counts.items()
        if count
    ]
    worst = next(level for level in reversed(LEVELS) if counts[level] or level == "ok")
    return Text(f"\n{', '.join(said)}", STYLES[worst])
