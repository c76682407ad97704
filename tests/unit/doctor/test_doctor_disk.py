"""disk: room and permission where the service writes."""

import os
import shutil
from typing import NamedTuple

import pytest
from patient import levels

from embedsvc.doctor import disk
from embedsvc.doctor.disk import look, nearest
from embedsvc.secret.reference import SecretRef


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_folders_with_room_are_well(patient):
    found = patient.examine(look)
    assert levels(found) == {"ok"}
    assert [each.seen.partition(":")[0] for each in found] == ["temporary files", "store.path"]


def test_only_what_is_written_is_looked_at(patient, tmp_path):
    identity = patient.settings.auth.identities[0].model_copy(
        update={"signing_secret": SecretRef("file", "x")}
    )
    more = patient.having("auth", identities=(identity,)).having("store", kind="convex")
    more = more.having("engine", encoder="onnx")
    subjects = [each.seen.partition(":")[0] for each in more.examine(look)]
    assert subjects == ["temporary files", "auth.nonces", "models.cache"]


def test_a_folder_that_is_not_there_yet_is_the_nearest_that_is(tmp_path):
    assert nearest(tmp_path / "a" / "b") == tmp_path


@pytest.mark.parametrize(("free", "level"), [(2**31, "ok"), (2**29, "warning"), (2**20, "error")])
def test_little_room_is_a_warning_and_none_is_an_error(patient, monkeypatch, free, level):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(2**40, 2**40 - free, free))
    found = patient.examine(look)
    assert levels(found) == {level}
    assert all(each.advice for each in found) is (level != "ok")


def test_a_folder_that_may_not_be_written_is_an_error(patient, monkeypatch):
    monkeypatch.setattr(disk.os, "access", lambda _folder, mode: mode != os.W_OK)
    found = patient.examine(look)
    assert levels(found) == {"error"}
    assert found[1].seen.endswith("may not be written by this user")
