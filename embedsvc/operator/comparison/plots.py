"""Draws what two sides have in common, as pictures for a page: their colours are the page's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from embedsvc.operator.comparison import vector_graphics as svg
from embedsvc.operator.comparison.agreement import DEPTHS, Agreement
from embedsvc.operator.comparison.measuring import Side
from embedsvc.operator.comparison.pairs import Pairs
from embedsvc.operator.comparison.relevance import Relevance
from embedsvc.operator.comparison.report import LOW, MILLISECONDS, PERCENT

SIZE = (4.4, 2.9)
"""Inches; text of 10 points stays readable at the width of a phone."""

SETTINGS: dict[Any, Any] = {  # which keys there are, the type of matplotlib's knows
    "axes.axisbelow": True,
    "axes.edgecolor": svg.LINE,
    "axes.grid": True,
    "axes.labelcolor": svg.INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    **{f"boxplot.{part}.color": svg.INK for part in ("boxprops", "capprops", "medianprops", "whiskerprops")},
    "grid.color": svg.LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: it is read aloud, found and copied
    "text.color": svg.INK,
    "xtick.color": svg.INK,
    "ytick.color": svg.INK,
}
SPREAD = 20
"""How many times the least the most may be before an axis counts in powers of ten."""


@contextmanager
def _drawing(name: str) -> Iterator[tuple[Axes, Callable[[], str]]]:
    with mpl.rc_context({**SETTINGS, "svg.hashsalt": name}):
        figure = Figure(figsize=SIZE, layout="constrained")
        yield figure.subplots(), lambda: svg.written(figure, name)


def _legend(axes: Axes) -> None:
    """Above what is drawn, where nothing is hidden by it."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, markerscale=2)


def overlap(agreement: Agreement, documents: int) -> str:
    """Bars of the overlap at each depth, and what chance would have made of it."""
    with _drawing("overlap") as (axes, finish):
        means = agreement.overlap.mean(axis=0) * PERCENT
        bars = axes.bar([f"at {k}" for k in DEPTHS], means, 0.55, color=svg.BOTH)
        axes.bar_label(bars, fmt="%.0f %%", padding=3)
        for at, k in enumerate(DEPTHS):
            axes.plot([at - 0.36, at + 0.36], [PERCENT * k / documents] * 2, ":", color=svg.INK)
        axes.plot([], [], ":", color=svg.INK, label="by chance")
        axes.set_ylim(0, 110)
        axes.set_yticks(range(0, 101, 25))
        axes.set_ylabel("shared nearest documents, %")
        axes.grid(visible=False, axis="x")
        _legend(axes)
        return finish()


def correlation(agreement: Agreement) -> str:
    """How many queries have which rank correlation."""
    with _drawing("correlation") as (axes, finish):
        found = agreement.correlation
        least = np.floor(found.min() * 10 - 0.5) / 10
        axes.hist(found, bins=np.linspace(least, 1, 26).tolist(), color=svg.BOTH)
        marks = (("mean", found.mean(), "-"), (f"{LOW}th percentile", np.percentile(found, LOW), "--"))
        for name, value, style in marks:
            axes.axvline(float(value), color=svg.INK, linestyle=style, label=f"{name} {value:.2f}")
        axes.set_xlabel("rank correlation of all documents")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_ylabel("queries")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=False, axis="x")
        _legend(axes)
        return finish()


def latency(sides: Sequence[Side]) -> str:
    """Where the times of single queries lie: boxes hold the middle half, and lines go from 5 to 95 %."""
    with _drawing("latency") as (axes, finish):
        times = [np.asarray(side.query_seconds) * MILLISECONDS for side in sides]
        boxes = axes.boxplot(
            times,
            orientation="horizontal",
            widths=0.5,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            tick_labels=["A", "B"],
        )
        for box, color in zip(boxes["boxes"], (svg.ONE, svg.OTHER), strict=True):
            box.set_facecolor(color)
        axes.invert_yaxis()
        _scale(axes, np.concatenate(times))
        axes.set_xlabel("one query, ms")
        axes.grid(visible=False, axis="y")
        return finish()


def _scale(axes: Axes, times: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    low, high = np.percentile(times, (1, 99))
    if high > low * SPREAD:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _at: f"{value:g}")
    else:
        axes.set_xlim(left=0)


def similarities(pairs: Pairs) -> str:
    """The same pairs of texts, in the eyes of both."""
    with _drawing("similarities") as (axes, finish):
        kinds = (
            (pairs.chance, svg.MUTED, "any two"),
            (pairs.near, svg.BOTH, "near for A or for B"),
        )
        for found, color, name in kinds:
            axes.scatter(found[0], found[1], s=7, linewidths=0, alpha=0.55, color=color, label=name)
        axes.set_xlabel("cosine, A")
        axes.set_ylabel("cosine, B")
        _legend(axes)
        return finish()


def relevance(found: Sequence[Relevance]) -> str:
    """How much of what is known to be relevant each side finds."""
    with _drawing("relevance") as (axes, finish):
        names = [*(f"recall\nat {k}" for k in DEPTHS), "nDCG\nat 10"]
        for side, (name, color, left) in zip(
            found, (("A", svg.ONE, -0.2), ("B", svg.OTHER, 0.2)), strict=True
        ):
            shares = np.append(side.recall.mean(axis=0), side.gain.mean()) * PERCENT
            bars = axes.bar(np.arange(len(names)) + left, shares, 0.38, color=color, label=name)
            axes.bar_label(bars, fmt="%.0f", padding=2)
        axes.set_xticks(range(len(names)), names)
        axes.margins(y=0.12)
        axes.set_ylabel("%")
        axes.grid(visible=False, axis="x")
        _legend(axes)
        return finish()
