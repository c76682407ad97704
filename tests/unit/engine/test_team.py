"""team: where its threads may be, seen in Linux's own words, each time in a fresh process."""

import json
import os
import subprocess
import sys
import threading

import pytest
import tiny_models
import torch

from embedsvc.engine.packed import APART_WORTH_ALL, PackedEncoder
from embedsvc.engine.team import Team, assemble
from embedsvc.engine.weights import find_architecture

SHOW = """
import json, os, sys, threading
import torch
from embedsvc.engine.team import assemble

def threads():
    return set(map(int, os.listdir("/proc/self/task")))

cores = set(map(int, sys.argv[2].split(",")))
os.sched_setaffinity(0, cores)
torch.set_num_threads(int(sys.argv[1]))
before = threads()
team = assemble()
[*helpers] = [os.sched_getaffinity(thread) for thread in threads() - before]
with team.in_place():
    inside = os.sched_getaffinity(0)
    torch.zeros(1 << 20).add_(1)
more = len(threads() - before) > len(helpers)
thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
seen = [os.sched_getaffinity(0)]
thread.start()
thread.join()
print(json.dumps({
    "cores": team.cores, "helpers": [*map(sorted, helpers)], "inside": sorted(inside),
    "after": [*map(sorted, seen)], "more": more,
}))
"""

CORES = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else []

pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="one core, or not Linux")


def show(threads, cores):
    arguments = [sys.executable, "-c", SHOW, str(threads), ",".join(map(str, cores))]
    return json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def test_master_and_helper_are_kept_at_a_core_each_and_other_threads_are_not():
    first, second = CORES
    seen = show(2, CORES)
    assert seen == {
        "cores": CORES,
        "helpers": [[second]],
        "inside": [first],
        "after": [CORES, CORES],
        "more": False,
    }


@pytest.mark.parametrize(("threads", "cores"), [(1, CORES), (2, CORES[:1]), (3, CORES)])
def test_teams_of_other_sizes_are_left_alone(threads, cores):
    seen = show(threads, cores)
    assert (seen["cores"], seen["inside"], seen["after"]) == ([], cores, [cores, cores])


def test_the_packed_encoder_has_its_helper_in_place_before_it_computes_anything(tmp_path):
    code = """
import os, sys
from pathlib import Path
import torch
from embedsvc.engine.packed import PackedEncoder
from embedsvc.engine.weights import find_architecture

first, second = map(int, sys.argv[2:])
os.sched_setaffinity(0, [first, second])
torch.set_num_threads(2)
folder = Path(sys.argv[1])
encoder = PackedEncoder(folder, find_architecture(folder))
encoder.encode([[1, 2, 3]] * 400)
where = [os.sched_getaffinity(int(thread)) for thread in os.listdir("/proc/self/task")]
print(encoder.worth_all, where.count({second}), where.count({first}))
"""
    folder = tiny_models.build_published(tiny_models.CATALOG_SHAPES[0], tmp_path)
    arguments = [sys.executable, "-c", code, str(folder), *map(str, CORES)]
    shown = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    assert shown.split() == ["1", "1", "0"]


def test_another_thread_is_not_held_at_the_masters_core():
    team = Team(CORES, master=threading.get_ident() + 1)
    with team.in_place():
        assert os.sched_getaffinity(0) >= set(CORES)


def test_a_core_that_was_taken_away_harms_nothing():
    with Team([4094, 4095], master=threading.get_ident()).in_place():
        assert os.sched_getaffinity(0) >= set(CORES)


def test_where_threads_may_not_be_moved_there_is_no_team(monkeypatch):
    def refuse(thread, cores):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: set(CORES))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert assemble() == Team()


def test_without_a_team_a_short_text_is_not_worth_all_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    folder = tiny_models.build_published(tiny_models.CATALOG_SHAPES[0], tmp_path)
    assert PackedEncoder(folder, find_architecture(folder)).worth_all == APART_WORTH_ALL
