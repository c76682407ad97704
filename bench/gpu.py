"""Measures the GPU's encoder beside sentence-transformers, correctness first: `make bench-gpu`.

Needs torch 2.11 or later and sentence-transformers, no network, and nothing else that the service needs.
"""

import argparse
import datetime as dt
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from gpu_models import SPECS, TINY_SPECS, Spec, find_folder
from gpu_report import BASELINE, ROOT, Check, Run, Window, describe, save, table
from gpu_ways import Way, agreement, matmul_peak, open_padded, pipelined, seconds
from gpu_work import Work, equal, mixed

from embedsvc.engine.packed_cuda import CudaEncoder, load
from embedsvc.engine.placing import DTYPES, Options
from embedsvc.engine.weights import Architecture, find_architecture

TOKENS_A_TEXT = 16
"""The shortest mean length that a full batch has room for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        specs: Which models.
        budgets: Tokens of a batch, of ours; all are tried.
        tokens: Of one measurement of ours.
        baseline_tokens: Of one of the baseline, which is slower.
        rounds: How often each way has its turn.
        matrices: Sides of the matrices for the peak.
    """

    specs: Sequence[Spec]
    budgets: Sequence[int]
    tokens: int
    baseline_tokens: int
    rounds: int
    matrices: Sequence[int]


FULL = Plan(SPECS, (4096, 8192, 16_384, 32_768, 65_536), 400_000, 100_000, 3, (4096, 8192, 16_384))
QUICK = Plan(TINY_SPECS, (1024,), 4096, 2048, 1, (256,))


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and in what a run computes.

    Attributes:
        device: Such as "cuda:0".
        precision: Such as "float16".
        models: A folder of real models.
        made: A folder for random ones.
    """

    device: str
    precision: str
    models: Path
    made: Path


def main() -> None:
    """Measure, save and show."""
    arguments = _parse()
    if arguments.device != "cpu" and not torch.cuda.is_available():
        sys.exit("bench/gpu.py: no GPU with CUDA here; `--device cpu --quick` tries the code without one")
    passed = arguments.device == "cpu" or _run_tests()
    started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    plan = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory() as made:
        setting = Setting(arguments.device, arguments.precision, arguments.models, Path(made))
        peak = matmul_peak(setting.device, setting.precision, plan.matrices)
        print(f"matmul peak: {peak / 1e12:,.1f} TFLOP/s in {setting.precision}", flush=True)
        checks, windows = _measure_models(plan, setting)
    run = Run(started, describe(setting.device, setting.precision), peak, checks, windows)
    print(*table(run), f"written to {save(run, arguments.out)}", sep="\n")
    if not passed or not all(check.correct for check in checks):
        sys.exit("bench/gpu.py: not all is correct; see above")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--precision", default="float16", choices=DTYPES)
    parser.add_argument("--quick", action="store_true", help="tiny models and little work, to try the code")
    parser.add_argument(
        "--models", type=Path, default=ROOT / "models", help="a folder of real models by name"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    return parser.parse_args()


def _run_tests() -> bool:
    """The tests that need a GPU, without the configuration and the fixtures of all others."""
    tests = ROOT / "tests" / "gpu"
    # Its configuration wants plugins, and tests/conftest.py the service: a GPU machine may have neither.
    alone = ["-c", os.devnull, "--rootdir", str(ROOT), "--confcutdir", str(tests), "-p", "no:cacheprovider"]
    path = os.pathsep.join(str(folder) for folder in (ROOT, ROOT / "bench"))
    command = [sys.executable, "-m", "pytest", "-q", "-rs", *alone, str(tests)]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False).returncode == 0


def _measure_models(plan: Plan, setting: Setting) -> tuple[list[Check], list[Window]]:
    """Check every model, and time those that are correct."""
    checks: list[Check] = []
    windows: list[Window] = []
    for spec in plan.specs:
        folder = find_folder(spec, setting.models, setting.made)
        encoder = _load(folder, setting, max(plan.budgets))
        checks.append(_check(spec, folder, encoder, setting))
        print(checks[-1], flush=True)
        if checks[-1].correct:
            windows += _windows(plan, spec, _ways(plan, encoder, folder, setting))
    return checks, windows


def _load(folder: Path, setting: Setting, budget: int) -> CudaEncoder:
    options = Options(setting.device, setting.precision, budget, budget // TOKENS_A_TEXT)
    return load(folder, _architecture(folder), options)


def _architecture(folder: Path) -> Architecture:
    architecture = find_architecture(folder)
    if architecture is None:
        raise ValueError(f"{folder} is not a model that the packed encoder computes")
    return architecture


def _check(spec: Spec, folder: Path, encoder: CudaEncoder, setting: Setting) -> Check:
    texts = sorted(mixed(16_384, spec.words).texts, key=len, reverse=True)
    ours = pipelined(encoder, tokens=4096, texts=256)
    least, other = agreement(ours, open_padded(folder, setting.device, "float32"), texts)
    one = equal(TOKENS_A_TEXT, TOKENS_A_TEXT, spec.words).texts
    return Check(
        model=spec.name,
        real=folder.is_relative_to(setting.models),
        precision=setting.precision,
        least_cosine=least,
        other_cosine=other,
        warm_up_seconds=encoder.warm_up.seconds,
        shapes=encoder.warm_up.shapes,
        uncompiled=encoder.warm_up.uncompiled,
        gpu_memory=encoder.gpu_memory(),
        one_text_ms=1000 * median(seconds(ours, one) for _ in range(100)),
    )


def _ways(
    plan: Plan, encoder: CudaEncoder, folder: Path, setting: Setting
) -> list[tuple[str, int | None, Way]]:
    """Name, budget and function of everything that takes turns."""
    ours = [
        ("packed", budget, pipelined(encoder, budget, budget // TOKENS_A_TEXT)) for budget in plan.budgets
    ]
    return [(BASELINE, None, open_padded(folder, setting.device, setting.precision)), *ours]


def _windows(plan: Plan, spec: Spec, ways: Sequence[tuple[str, int | None, Way]]) -> Iterator[Window]:
    for turn in range(plan.rounds):
        for work in _works(plan.tokens, spec):
            for name, budget, way in ways:
                done = work if budget is not None else work.first(plan.baseline_tokens)
                yield _window(turn, spec, done, (name, budget, way))


def _works(tokens: int, spec: Spec) -> list[Work]:
    return [
        mixed(tokens, spec.words),
        equal(512, tokens, spec.words),
        equal(TOKENS_A_TEXT, tokens, spec.words),
    ]


def _window(turn: int, spec: Spec, work: Work, named: tuple[str, int | None, Way]) -> Window:
    name, budget, way = named
    if turn == 0:
        seconds(way, work.texts)  # whatever the first time takes longer for
    window = Window(
        round=turn,
        model=spec.name,
        work=work.name,
        way=name,
        batch_tokens=budget,
        seconds=seconds(way, work.texts),
        texts=len(work.texts),
        tokens=work.tokens,
        useful_flops=sum(spec.useful_flops(len(text)) for text in work.texts),
    )
    print(
        f"{spec.name}, {work.name}, {name} {budget or ''}: {window.tokens / window.seconds:,.0f} tokens/s",
        flush=True,
    )
    return window


if __name__ == "__main__":
    main()
