"""What is kept of a run on a GPU, and what is shown of it."""

import datetime as dt
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import torch

ROOT = Path(__file__).parent.parent
PACKAGES = ("numpy", "safetensors", "sentence-transformers", "torch", "transformers", "triton")
BASELINE = "sentence-transformers"
LEAST_COSINE = 0.999
"""Of a text's vector to float32's."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was seen of a model before it was timed.

    Attributes:
        model: Its name.
        real: Whether its weights are real ones.
        precision: What it computes in.
        least_cosine: To sentence-transformers in float32, over texts of all lengths.
        other_cosine: The most to the vector of another text, which must be less.
        warm_up_seconds: How long it took to load and make ready.
        shapes: How many were made ready.
        uncompiled: Why kernels are not compiled; None where they are.
        gpu_memory: Bytes that the process holds after that.
        one_text_ms: The median of one text of 16 tokens.
    """

    model: str
    real: bool
    precision: str
    least_cosine: float
    other_cosine: float
    warm_up_seconds: float
    shapes: int
    uncompiled: str | None
    gpu_memory: int | None
    one_text_ms: float

    @property
    def correct(self) -> bool:
        """Whether it is worth timing."""
        return self.least_cosine >= max(LEAST_COSINE, self.other_cosine)


@dataclass(frozen=True, slots=True)
class Window:
    """One measurement.

    Attributes:
        round: Which, from 0.
        model: What was computed.
        work: On which texts.
        way: By what.
        batch_tokens: The budget of a batch; None for the baseline.
        seconds: How long it took.
        texts: How many.
        tokens: Of all texts.
        useful_flops: What the texts need.
    """

    round: int
    model: str
    work: str
    way: str
    batch_tokens: int | None
    seconds: float
    texts: int
    tokens: int
    useful_flops: int


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run.

    Attributes:
        started: When, in UTC.
        conditions: Machine, versions and commit.
        matmul_peak: Floating-point operations a second of the best product of two matrices.
        checks: One a model.
        windows: Every measurement, in order.
    """

    started: str
    conditions: Mapping[str, object]
    matmul_peak: float
    checks: Sequence[Check]
    windows: Sequence[Window]


def describe(device: str, precision: str) -> dict[str, object]:
    """Where and with what this runs."""
    return {
        "device": device if device == "cpu" else torch.cuda.get_device_name(device),
        "precision": precision,
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": _git("diff", "--name-only", "HEAD").splitlines(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "versions": {name: _version(name) for name in PACKAGES},
    }


def save(run: Run, folder: Path) -> Path:
    """Write a run's raw figures, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"gpu-{dt.datetime.now(dt.UTC):%Y-%m-%d-%H%M%S}.json"
    path.write_text(json.dumps(asdict(run), indent=1) + "\n")
    return path


def table(run: Run) -> Iterator[str]:
    """The lines of a table: medians over the rounds, and how many times the baseline."""
    figures = f"{'tokens/s':>12}{'texts/s':>11}{'of peak':>9}{'x base':>8}"
    yield f"{'model':20}{'texts':14}{'way':23}{'budget':>7}{figures}"
    grouped = _group(run.windows)
    for (model, work, way, budget), windows in grouped.items():
        seconds = median(window.seconds for window in windows)
        rate = windows[0].tokens / seconds
        base = _rate(grouped.get((model, work, BASELINE, None), []))
        peak = windows[0].useful_flops / seconds / run.matmul_peak
        shown = f"{rate:>12,.0f}{windows[0].texts / seconds:>11,.0f}{peak:>9.1%}"
        times = f"{rate / base:>8.2f}" if base else f"{'':>8}"
        yield f"{model:20}{work:14}{way:23}{budget or '':>7}{shown}{times}"


def _rate(windows: Sequence[Window]) -> float | None:
    return windows[0].tokens / median(window.seconds for window in windows) if windows else None


def _group(windows: Sequence[Window]) -> dict[tuple[str, str, str, int | None], list[Window]]:
    """Each round's measurements, by what was measured."""
    grouped: dict[tuple[str, str, str, int | None], list[Window]] = {}
    for window in windows:
        key = window.model, window.work, window.way, window.batch_tokens
        grouped.setdefault(key, []).append(window)
    return grouped


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    """What git says; nothing where there is no git, or no repository."""
    command = ["git", *arguments]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""
