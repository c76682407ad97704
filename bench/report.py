"""What is kept of a run: every figure, and where and with what it was measured."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path

from figures import Figures, Spread, spread
from model import MODEL, ROOT

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One window: which round it was of, what was asked, what answered, and what was seen."""

    round: int
    scenario: str
    subject: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Run:
    """A whole run.

    Attributes:
        started: When, in UTC.
        minutes: How long it took.
        conditions: Machine, versions, commit and load, as `describe` found them before the start.
        agreement: By encoder and way, the least cosine to sentence-transformers.
        not_run: By name, why something was not measured.
        measurements: Every window, in order.
    """

    started: str
    minutes: float
    conditions: Mapping[str, object]
    agreement: Mapping[str, float]
    not_run: Mapping[str, str]
    measurements: Sequence[Measurement]

    @property
    def count(self) -> int:
        """How many rounds there were."""
        return max((item.round for item in self.measurements), default=0)

    def rounds(self, scenario: str, subject: str, metric: str) -> dict[int, float]:
        """One metric by round; empty where it was not measured."""
        return {
            item.round: item.figures.metric(metric)
            for item in self.measurements
            if (item.scenario, item.subject) == (scenario, subject)
        }

    def others(self) -> Spread:
        """How many cores programs that have no part in this had, over all windows."""
        return spread([item.figures.metric("others") for item in self.measurements])


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
        "versions": {
            found.name: found.version for found in sorted(distributions(), key=lambda one: one.name)
        },
        "peers": {
            file.stem: file.read_text().splitlines() for file in (ROOT / "requirements/peers").glob("*.txt")
        },
    }


def file_of(run: Run, folder: Path, suffix: str) -> Path:
    """Where something of a run goes: by the day on which it started."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"bench-{run.started[:10]}{suffix}"


def save(run: Run, folder: Path) -> Path:
    """Write a run's raw figures, and return the file."""
    path = file_of(run, folder, ".json")
    path.write_text(json.dumps(asdict(run), indent=1) + "\n")
    return path


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    """The processor's name, which Python does not know on Linux."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
