"""One page of plots: encoders, callers, latencies, and what a constant rate does to them."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import plan
from figures import spread
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report import Run, file_of

WIDTH, HEIGHT = 15, 11
"""Inches."""

PALETTE = mpl.color_sequences["tab10"]
COLORS = {
    **dict(zip(plan.ENCODERS, PALETTE, strict=False)),
    **dict(zip((*plan.UNARY, *plan.PEERS), PALETTE, strict=False)),
}
LOOPS = (plan.ONE, plan.SIXTEEN, plan.MANY, plan.SIXTEEN_MIXED)


def plot(run: Run, folder: Path) -> Path:
    """Draw a run's medians, and return the file."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    (encoders, callers), (latencies, rates) = figure.subplots(2, 2)
    _bars(encoders, run, [raw.name for raw in plan.RAW if not raw.single], list(plan.ENCODERS), "tokens/s")
    encoders.set_title("encoders without a server")
    ways = [*plan.UNARY, *plan.PEERS]
    _bars(callers, run, LOOPS, ways, "requests/s")
    callers.set_title("one text a call")
    _percentiles(latencies, run, ways)
    _rates(rates, run)
    figure.suptitle(_title(run))
    path = file_of(run, folder, ".png")
    figure.savefig(path, dpi=110)
    return path


def _title(run: Run) -> str:
    machine = f"{run.conditions['processor']}, {run.conditions['cores']} cores"
    busy = f"{run.others().median:.1f} of them busy with others"
    return f"{run.conditions['model']} on {machine}, {busy}; {run.started}"


def _bars(axes: Axes, run: Run, scenarios: Sequence[str], subjects: Sequence[str], metric: str) -> None:
    """A group of bars for each scenario, with lines from the least to the most of any round."""
    width = 0.8 / len(subjects)
    for place, subject in enumerate(subjects):
        found = [(at, run.rounds(scenario, subject, metric)) for at, scenario in enumerate(scenarios)]
        spreads = [(at, spread([*rounds.values()])) for at, rounds in found if rounds]
        if not spreads:
            continue
        axes.bar(
            [at + (place + 0.5) * width - 0.4 for at, _ in spreads],
            [one.median for _, one in spreads],
            width,
            yerr=[
                [one.median - one.least for _, one in spreads],
                [one.most - one.median for _, one in spreads],
            ],
            label=subject,
            color=COLORS[subject],
        )
    axes.set_xticks(range(len(scenarios)), [name.replace(", ", ",\n") for name in scenarios])
    axes.set_ylabel(metric)
    axes.legend()


def _percentiles(axes: Axes, run: Run, ways: Sequence[str]) -> None:
    """From the median to the 99th percentile, by callers."""
    width = 0.8 / len(ways)
    for place, way in enumerate(ways):
        for at, scenario in enumerate(LOOPS):
            found = [run.rounds(scenario, way, metric) for metric in ("p50", "p90", "p99")]
            if all(found):
                values = [spread([*rounds.values()]).median for rounds in found]
                axes.plot(
                    [at + (place + 0.5) * width - 0.4] * 3, values, "o-", color=COLORS[way], markersize=4
                )
        axes.plot([], [], "o-", color=COLORS[way], label=way)
    axes.set_xticks(range(len(LOOPS)), [name.replace(", ", ",\n") for name in LOOPS])
    axes.set_yscale("log")
    axes.set_ylabel("ms: p50, p90, p99")
    axes.set_title("latency, one text a call")
    axes.legend()


def _rates(axes: Axes, run: Run) -> None:
    """Latency over the rate of an open loop."""
    for way in (plan.GRPC, plan.REST_BASE64, plan.INFINITY_ONNX):
        for metric, style in (("p50", "o-"), ("p99", "o--")):
            found = [(rate, run.rounds(plan.open_name(rate), way, metric)) for rate in plan.RATES]
            points = [(rate, spread([*rounds.values()]).median) for rate, rounds in found if rounds]
            axes.plot(
                *zip(*points, strict=True), style, color=COLORS[way], label=f"{way}, {metric}"
            ) if points else None
    axes.set_yscale("log")
    axes.set_xlabel("calls a second, sent at a constant rate whatever the answers do")
    axes.set_ylabel("ms from when a call was to be sent")
    axes.set_title("open loop, one text a call")
    axes.legend()
