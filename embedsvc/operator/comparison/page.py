"""A report as one HTML file, which needs nothing else and asks nobody for anything."""

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from embedsvc.operator.comparison.agreement import DEPTHS
from embedsvc.operator.comparison.differing import FOUND, differing
from embedsvc.operator.comparison.pictures import pictures
from embedsvc.operator.comparison.report import Report, rows
from embedsvc.operator.shown import written

TEMPLATE = "compare.html"

REFUSED = 20
"""Refused texts that are named."""


def render(report: Report, made: str) -> str:
    """Make the page.

    Args:
        report: What it tells.
        made: When, and from what, for people.
    """
    environment = Environment(
        loader=PackageLoader("embedsvc", "data"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["written"] = written
    return environment.get_template(TEMPLATE).render(
        report=report,
        made=made,
        pictures=list(pictures(report)),
        rows=rows(report),
        differing=list(differing(report.measured.corpus, report.agreement)),
        overlap=report.agreement.overlap.mean(axis=0).tolist(),
        depth=max(DEPTHS),
        found=FOUND,
        named=REFUSED,
        wins=_wins(report),
    )


def _wins(report: Report) -> tuple[int, int, int] | None:
    """On how many queries each side has the higher nDCG, and on how many neither; None: nothing is known."""
    if report.relevance is None:
        return None
    one, other = (side.gain for side in report.relevance)
    level = np.isclose(one, other)
    return int(((one > other) & ~level).sum()), int(((one < other) & ~level).sum()), int(level.sum())
