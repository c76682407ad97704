"""`embedsvc keys rotate`: a successor takes over, and no key is ever lost on the way."""

import re
import stat
import time

import pytest
from shell import DAY

from embedsvc.keys import token
from embedsvc.operator.keys import state_of
from embedsvc.store.records import Limits


@pytest.fixture
def out(tmp_path):
    return tmp_path / "keys"


def states(shell):
    now = time.time()
    return [(key.name, state_of(key, now)) for key in shell.keys]


def test_a_successor_is_shown_and_the_old_key_works_on_for_a_week(shell):
    _, old = shell.add("alice", age=40, owner="b", limits=Limits(5))
    ran = shell("keys", "rotate", "alice")
    key = ran.out.removesuffix("\n")
    assert ran.err.startswith("alice: this key is shown once; only its SHA-256 is kept\n")
    assert f"alice: the old key, {old.prefix}, works until " in ran.err
    kept, new = shell.keys
    assert (new.digest, new.name, new.owner, new.limits) == (token.digest(key), "alice", "b", Limits(5))
    assert (kept.digest, kept.successor) == (old.digest, new.digest)
    assert abs(kept.expires_at - time.time() - 7 * DAY) < 60


@pytest.mark.parametrize(("days", "state"), [("0", "expired"), ("0.5", "rotated")])
def test_the_old_key_works_on_for_as_long_as_is_said(shell, days, state):
    shell.add("alice")
    shell("keys", "rotate", "alice", "--overlap-days", days)
    assert states(shell) == [("alice", state), ("alice", "active")]
    assert abs(shell.keys[0].expires_at - time.time() - float(days) * DAY) < 60


def test_the_successor_is_what_a_name_means_from_then_on(shell):
    shell.add("alice")
    for _ in range(2):
        shell("keys", "rotate", "alice")
    assert states(shell) == [("alice", "rotated"), ("alice", "rotated"), ("alice", "active")]


def test_a_key_that_has_a_successor_or_is_revoked_is_not_rotated(shell):
    _, old = shell.add("alice", successor="b" * 64, expires_at=time.time() + DAY)
    assert shell("keys", "rotate", old.prefix, status=2).err == "embedsvc: store: the key has a successor\n"
    _, gone = shell.add("bob", revoked_at=1.0)
    assert shell("keys", "rotate", gone.prefix, status=2).err == "embedsvc: store: the key is revoked\n"
    assert len(shell.keys) == 2


def test_a_timer_rotates_what_is_due_and_shows_none(shell, out):
    shell.add("old", age=31)
    shell.add("old too", age=30)
    shell.add("young", age=29)
    ran = shell("keys", "rotate", "--due", "--out", out)
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert [lines[0], lines[2]] == [f"old: {out / 'old.key'}", f"old too: {out / 'old_too.key'}"]
    assert not re.search("emb_[A-Za-z0-9_-]{43}", ran.err)
    assert states(shell) == [
        ("old", "rotated"),
        ("old too", "rotated"),
        ("young", "active"),
        ("old", "active"),
        ("old too", "active"),
    ]
    written = {path.name: token.digest(path.read_text().strip()) for path in out.iterdir()}
    assert written == {"old.key": shell.keys[3].digest, "old_too.key": shell.keys[4].digest}


def test_a_timer_that_runs_again_does_nothing(shell, out):
    shell.add("old", age=31)
    shell("keys", "rotate", "--due", "--out", out)
    before = shell.keys, (out / "old.key").read_text()
    assert shell("keys", "rotate", "--due", "--out", out).err == ""
    assert (shell.keys, (out / "old.key").read_text()) == before


def test_a_timer_says_how_old_is_too_old(shell, out):
    shell.add("old", age=8)
    shell("keys", "rotate", "--due", "--days", "8.5", "--out", out)
    assert states(shell) == [("old", "active")]
    shell("keys", "rotate", "--due", "--days", "7.5", "--out", out)
    assert states(shell) == [("old", "rotated"), ("old", "active")]


def test_a_timer_must_say_where_keys_go(shell):
    shell.add("old", age=31)
    ran = shell("keys", "rotate", "--due", status=2)
    assert ran.err == "embedsvc: keys rotate --due needs --out: a timer's output is somebody's log\n"
    assert states(shell) == [("old", "active")]


def test_two_keys_of_one_name_do_not_overwrite_each_other(shell, out):
    _, first = shell.add("alice", age=33)
    _, second = shell.add("alice", age=32)
    shell.add("bob", age=31)
    ran = shell("keys", "rotate", "--due", "--out", out, status=2)
    assert f"alice ({second.prefix}) is not rotated: --out: {out / 'alice.key'} holds another key" in ran.err
    assert states(shell) == [
        ("alice", "rotated"),
        ("alice", "active"),
        ("bob", "rotated"),
        ("alice", "active"),
        ("bob", "active"),
    ]
    assert token.digest((out / "alice.key").read_text().strip()) == shell.keys[0].successor
    assert shell.keys[0].digest == first.digest


def test_names_that_have_the_same_file_do_not_overwrite_each_other(shell, out):
    for name in ("team a", "team/a", "team_a"):
        shell.add(name, age=31)
    ran = shell("keys", "rotate", "--due", "--out", out, status=2)
    assert ran.err.count("is not rotated") == 2
    assert [state for _, state in states(shell)].count("rotated") == 1


def test_a_new_key_does_not_overwrite_one_that_is_in_use(shell, out):
    shell("keys", "create", "al ice", "--out", out)
    before = (out / "al_ice.key").read_text()
    ran = shell("keys", "create", "al/ice", "--out", out, status=2)
    assert ran.err == f"embedsvc: --out: {out / 'al_ice.key'} holds another key, which may be in use\n"
    assert ((out / "al_ice.key").read_text(), len(shell.keys)) == (before, 1)


def test_a_new_key_overwrites_one_that_works_no_more_but_none_of_another_store(shell, out):
    shell("keys", "create", "alice", "--out", out)
    shell("keys", "revoke", "alice")
    shell("keys", "create", "alice", "--out", out)
    assert token.digest((out / "alice.key").read_text().strip()) == shell.keys[1].digest
    (out / "bob.key").write_text(token.generate())
    shell("keys", "create", "bob", "--out", out, status=2)


def test_a_successor_overwrites_its_predecessor_and_what_came_before_it(shell, out):
    shell("keys", "create", "alice", "--out", out)
    shell("keys", "rotate", "alice")  # by hand: the file has the first key still
    shell("keys", "rotate", "alice", "--out", out)
    assert token.digest((out / "alice.key").read_text().strip()) == shell.keys[2].digest


@pytest.mark.parametrize("content", ["-----BEGIN PRIVATE KEY-----\n", "", "emb_short"])
def test_a_file_that_is_no_key_of_ours_is_left_alone(shell, out, content):
    out.mkdir()
    (out / "server.key").write_text(content)
    ran = shell("keys", "create", "server", "--out", out, status=2)
    assert ran.err == f"embedsvc: --out: {out / 'server.key'} is there already, and holds no API key\n"
    assert ((out / "server.key").read_text(), shell.keys) == (content, [])


def test_only_the_owner_can_read_what_is_written(shell, out):
    shell("keys", "create", "alice", "--out", out / "deep")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (out, out / "deep")][1] == 0o700
    (path,) = (out / "deep").iterdir()
    assert (path.name, stat.S_IMODE(path.stat().st_mode)) == ("alice.key", 0o600)


def test_a_key_whose_file_cannot_be_written_is_not_made_and_its_predecessor_not_rotated(shell, out):
    out.write_text("a file where a folder should be")
    _, old = shell.add("alice")
    for arguments in (("create", "bob"), ("rotate", "alice")):
        ran = shell("keys", *arguments, "--out", out, status=2)
        assert ran.err.startswith("embedsvc: --out: ")
        assert ran.err.count("\n") == 1
    assert shell.keys == [old]


def test_a_key_that_the_store_refuses_leaves_no_file(shell, out):
    _, old = shell.add("alice", successor="b" * 64, expires_at=time.time() + DAY)
    shell("keys", "rotate", old.prefix, "--out", out, status=2)
    assert list(out.iterdir()) == []
