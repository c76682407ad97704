"""A figure as SVG that stands in a page: in its colours and type, without names that another one has."""

import io
import re

from matplotlib.figure import Figure

INK, LINE, MUTED, ONE, OTHER, BOTH = (f"#a1b2c{number}" for number in range(6))
"""Colours that stand for the page's own, which differ by day and by night."""

VARIABLES = {
    INK: "--ink",
    LINE: "--line",
    MUTED: "--muted",
    ONE: "--one",
    OTHER: "--other",
    BOTH: "--both",
}

NOTHING = dict.fromkeys(("Date", "Creator", "Format", "Type"))
"""Of what the file could say of itself."""


def written(figure: Figure, name: str) -> str:
    """Write a figure as an `<svg>` element.

    Args:
        figure: What is drawn, in the colours above.
        name: What tells it from others; also the `svg.hashsalt` under which it was drawn.
    """
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata=NOTHING)
    drawn = out.getvalue()
    box = re.search(r'viewBox="[^"]*"', drawn)
    inside = drawn[drawn.index(">", drawn.index("<svg")) + 1 : drawn.rindex("</svg>")]
    assert box is not None, "matplotlib writes one"  # noqa: S101 - for the type's sake
    return f'<svg {box[0]} role="img" aria-labelledby="{name}-title {name}-says">{_adapted(inside)}</svg>'


def _adapted(inside: str) -> str:
    inside = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", inside, flags=re.DOTALL)
    inside = re.sub(r"font-family: [^;\"]*(; )?", "", inside)
    inside = inside.replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="|url\()#(\w+)', inside))
    inside = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", inside)
    for color, variable in VARIABLES.items():
        inside = inside.replace(color, f"var({variable})")
    return re.sub(r"\s*\n\s*", "\n", inside)
