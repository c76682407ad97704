"""bench/gpu.py: the whole run, tiny and on a CPU, and the arithmetic that its figures rest on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gpu_models import SPECS, TINY_SPECS, make_model
from gpu_report import BASELINE, Check, Run, Window, table
from gpu_ways import agreement
from gpu_work import LONGEST, SHORTEST, cut, equal, mixed

from embedsvc.engine.weights import find_architecture

ROOT = Path(__file__).parents[3]


def run_bench(*arguments):
    command = [sys.executable, ROOT / "bench" / "gpu.py", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    ended = run_bench("--device", "cpu", "--precision", "float32", "--quick", "--out", out)
    assert ended.returncode == 0, ended.stderr
    return ended, json.loads(next(out.glob("gpu-*.json")).read_text())


def test_a_run_keeps_where_it_was_and_every_measurement(finished):
    _, kept = finished
    assert kept["conditions"]["versions"]["torch"] == torch.__version__
    assert len(kept["conditions"]["commit"]) in (0, 40)
    assert kept["matmul_peak"] > 0
    ways = {(window["model"], window["work"], window["way"]) for window in kept["windows"]}
    assert len(ways) == len(kept["windows"]) == len(TINY_SPECS) * 3 * 2
    assert all(window["seconds"] > 0 for window in kept["windows"])


def test_a_run_checks_every_model_before_it_is_timed(finished):
    _, kept = finished
    assert [check["model"] for check in kept["checks"]] == [spec.name for spec in TINY_SPECS]
    assert all(check["least_cosine"] > 0.9999 > check["other_cosine"] for check in kept["checks"])


def test_a_run_ends_with_a_table(finished):
    ended, _ = finished
    shown = ended.stdout.splitlines()
    assert shown[-1].startswith("written to ")
    assert sum("tiny-bert" in line and "packed" in line and "%" in line for line in shown) == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_one_clear_line():
    ended = run_bench()
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "no GPU with CUDA here" in ended.stderr


def test_useful_work_is_what_is_known_of_the_models():
    minilm, base = SPECS[0], SPECS[1]
    assert minilm.useful_flops(1) == pytest.approx(21.2e6, rel=0.01)  # a token's share, attention left out
    weights = 12 * (4 * 768**2 + 2 * 768 * 3072)
    assert base.useful_flops(512) == 512 * 2 * weights + 12 * 2 * 2 * 512**2 * 768


def test_mixed_texts_are_of_all_lengths_and_as_many_tokens_as_asked_for():
    work = mixed(100_000, words=1000)
    lengths = [len(text) for text in work.texts]
    assert min(lengths) >= SHORTEST
    assert max(lengths) == LONGEST
    assert 100_000 <= work.tokens < 100_000 + LONGEST
    assert min(map(min, work.texts)) >= 5
    assert max(map(max, work.texts)) < 1000


def test_the_first_part_of_a_work_is_its_first_texts():
    work = equal(10, 1000, words=1000)
    part = work.first(95)
    assert part.texts == work.texts[:10]
    assert work.first(10_000).texts == work.texts


@pytest.mark.parametrize(("tokens", "texts"), [(100, 1000), (100_000, 7), (1, 1)])
def test_batches_are_the_texts_in_their_order_within_the_limits(tokens, texts):
    work = mixed(5000, words=1000)
    batches = list(cut(work.texts, tokens, texts))
    assert [text for batch in batches for text in batch] == work.texts
    for batch in batches:
        assert len(batch) <= texts
        assert len(batch) == 1 or sum(map(len, batch)) <= tokens


def test_agreement_is_the_least_of_a_text_and_the_most_of_two():
    one = [torch.tensor([[1.0, 0.0], [0.0, 2.0]]).numpy()]
    other = [torch.tensor([[1.0, 0.0], [3.0, 4.0]]).numpy()]
    assert agreement(lambda _: one, lambda _: other, []) == pytest.approx((0.8, 0.6))


def check(least, other):
    return Check(
        model="m",
        real=False,
        precision="float16",
        least_cosine=least,
        other_cosine=other,
        warm_up_seconds=1.0,
        shapes=3,
        uncompiled=None,
        gpu_memory=None,
        one_text_ms=1.0,
    )


def test_a_model_is_correct_only_where_it_is_close_and_closer_than_any_other_text():
    assert check(0.9991, 0.99).correct
    assert not check(0.9989, 0.5).correct
    assert not check(0.9991, 0.9995).correct


def test_the_table_has_medians_shares_of_the_peak_and_ratios():
    def windows(way, budget, seconds):
        return [Window(at, "m", "w", way, budget, each, 10, 100, 500) for at, each in enumerate(seconds)]

    measured = [*windows(BASELINE, None, [2.0, 1.0, 9.0]), *windows("packed", 1024, [0.5, 0.5, 0.1])]
    rows = list(table(Run("", {}, 2000.0, [], measured)))[1:]
    assert rows[0].split() == ["m", "w", BASELINE, "50", "5", "12.5%", "1.00"]
    assert rows[1].split() == ["m", "w", "packed", "1024", "200", "20", "50.0%", "4.00"]


@pytest.mark.parametrize("spec", TINY_SPECS, ids=lambda spec: spec.family)
def test_a_random_model_has_the_shape_that_is_asked_for(spec, tmp_path):
    found = find_architecture(make_model(spec, tmp_path / "model"))
    assert (found.family, found.pooling) == (spec.family, "mean")
    assert (found.layers, found.heads, found.dimensions) == (spec.layers, spec.heads, spec.dimensions)
