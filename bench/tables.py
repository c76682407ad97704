"""What is shown of a run: medians over its rounds."""

from collections.abc import Iterator

import plan
from figures import ratio, spread
from judged import GOALS, Goal
from plan import Raw
from report import Run
from rich import box
from rich.table import Table

LEFT = ("calls", "way", "why not run", "")
"""Headings of columns of words."""


def tables(run: Run) -> Iterator[Table]:
    """Every table, in the order in which they are read."""
    yield _raw(run)
    yield _served(run)
    yield _judged(run)
    yield _not_run(run)


def _raw(run: Run) -> Table:
    names = [name for name in plan.ENCODERS if any(item.subject == name for item in run.measurements)]
    shown = _table(f"encoders without a server: tokens/s (x {plan.SORTED})", ["texts", *names])
    for raw in plan.RAW:
        shown.add_row(raw.name, *(_raw_cell(run, raw, name) for name in names))
    return shown


def _raw_cell(run: Run, raw: Raw, name: str) -> str:
    metric = "p50" if raw.single else "tokens/s"
    value = _median(run, raw.name, name, metric)
    shown = f"{value:.1f} ms" if raw.single else f"{value:,.0f}"
    return f"{shown} ({_times(run, raw.name, (name, plan.SORTED), metric)})"


def _served(run: Run) -> Table:
    figures = ["req/s", "texts/s", "tokens/s", f"x {plan.FASTAPI}", "p50 ms", "p90", "p99"]
    shown = _table("served", ["calls", "way", *figures, "its cores", "callers'", "others'", "errors"])
    for served in plan.SERVED:
        for way in served.ways:
            if run.rounds(served.name, way, "requests/s"):
                shown.add_row(served.name, way, *_served_cells(run, served.name, way))
        shown.add_section()
    return shown


def _served_cells(run: Run, scenario: str, way: str) -> list[str]:
    def show(style: str, *metrics: str) -> list[str]:
        return [format(_median(run, scenario, way, metric), style) for metric in metrics]

    return [
        *show(",.0f", "requests/s", "texts/s", "tokens/s"),
        _times(run, scenario, (way, plan.FASTAPI), "requests/s"),
        *show(",.1f", "p50", "p90", "p99"),
        *show(".2f", "program", "callers", "others"),
        str(sum(run.rounds(scenario, way, "failures").values())),
    ]


def _judged(run: Run) -> Table:
    busy = f"cores that other programs had: {run.others().median:.2f}, at most {run.others().most:.2f}"
    shown = _table(f"judged; {busy}", ["what", "wanted", "measured", "of any round", ""])
    for goal in GOALS:
        shown.add_row(goal.claim, *_judged_cells(run, goal))
    return shown


def _judged_cells(run: Run, goal: Goal) -> list[str]:
    wanted = f"{'<=' if goal.at_most else '>='} {goal.bound:,g}"
    measured = goal.measure(run)
    if measured is None:
        return [wanted, "", "", "not measured"]
    median, least, most = (f"{value:,.4g}" for value in (measured.median, measured.least, measured.most))
    return [wanted, median, f"{least} to {most}", "held" if goal.held(measured) else "[bold]NOT HELD[/bold]"]


def _not_run(run: Run) -> Table:
    shown = _table(
        "agreement with sentence-transformers, and what was not run", ["what", "least cosine", "why not run"]
    )
    for name in {**run.agreement, **run.not_run}:
        cosine = f"{run.agreement[name]:.6f}" if name in run.agreement else ""
        shown.add_row(name, cosine, run.not_run.get(name, ""))
    return shown


def _median(run: Run, scenario: str, subject: str, metric: str) -> float:
    return spread([*run.rounds(scenario, subject, metric).values()]).median


def _times(run: Run, scenario: str, subjects: tuple[str, str], metric: str) -> str:
    """How many times the one's figure is the other's, over the rounds that both have; empty where none."""
    over, under = (run.rounds(scenario, subject, metric) for subject in subjects)
    both = sorted(over.keys() & under.keys())
    return f"{ratio([over[at] for at in both], [under[at] for at in both]).median:.2f}" if both else ""


def _table(title: str, headings: list[str]) -> Table:
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, heading in enumerate(headings):
        shown.add_column(
            heading, justify="left" if number == 0 or heading in LEFT else "right", no_wrap=heading in LEFT
        )
    return shown
