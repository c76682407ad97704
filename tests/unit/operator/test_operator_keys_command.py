"""`embedsvc keys`: keys are made, which alone shows them, and listed, shown, revoked and imported."""

import csv
import io
import os
import subprocess
import sys
import time

import pytest
from shell import DAY

from embedsvc.keys import token
from embedsvc.operator.shown import moment
from embedsvc.store.records import InjectionPolicy, Limits


def test_a_new_key_is_alone_on_standard_output_and_its_digest_alone_is_kept(shell):
    ran = shell("keys", "create", "search-team")
    key = ran.out.removesuffix("\n")
    assert token.is_key(key)
    assert ran.err == (
        "search-team: this key is shown once; only its SHA-256 is kept\n"
        f"search-team is kept in the file {shell.store}, where servers must look for it\n"
    )
    (kept,) = shell.keys
    assert (kept.digest, kept.prefix, kept.name) == (token.digest(key), key[:12], "search-team")
    assert key.encode() not in shell.store.read_bytes()


def test_a_script_can_take_a_new_key_from_standard_output(shell, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EMBEDSVC_")}
    command = [sys.executable, "-m", "embedsvc", "--config", str(shell.config), "keys", "create", "a b"]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, check=True, text=True, timeout=60
    )
    assert ran.stderr.startswith("a b: this key is shown once; only its SHA-256 is kept\n")
    (kept,) = shell.keys
    assert kept.digest == token.digest(ran.stdout.removesuffix("\n"))


def test_a_new_key_may_do_everything_for_ever(shell):
    shell("keys", "create", "alice")
    (kept,) = shell.keys
    assert abs(kept.created_at - time.time()) < 60
    assert (kept.owner, kept.models, kept.calls, kept.limits) == ("", (), (), Limits())
    assert (kept.injection, kept.expires_at, kept.revoked_at, kept.used_at, kept.successor) == (None,) * 5
    assert kept.cache is True


def test_a_model_that_is_not_served_is_refused_and_no_key_made(shell):
    ran = shell("keys", "create", "alice", "--model", "mini", status=2)
    assert "--model: mini is not served" in ran.err
    assert "all-mpnet-base-v2, all-MiniLM-L6-v2" in ran.err
    assert shell.keys == []


def test_a_key_may_be_for_a_model_of_a_provider(shell, monkeypatch):
    provider = '{"openai": {"models": {"text-embedding-3-small": {"dimensions": 8}}}}'
    monkeypatch.setenv("EMBEDSVC_PROVIDERS", provider)
    shell("keys", "create", "alice", "--model", "openai/text-embedding-3-small")
    [key] = shell.keys
    assert key.models == ("openai/text-embedding-3-small",)


def test_a_new_key_may_do_what_is_said(shell):
    options = (
        "--owner=Search --model=all-mpnet-base-v2 --model=all-MiniLM-L6-v2 --call=embed --call=models "
        "--injection=flag --no-cache "
        "--requests-per-minute=600 --tokens-per-minute=100000 --quota-requests=9000 --quota-tokens=1000000 "
        "--quota-seconds=86400 --expires-days=90"
    )
    shell("keys", "create", "alice", *options.split())
    (kept,) = shell.keys
    assert (kept.owner, kept.models, kept.calls) == (
        "Search",
        ("all-mpnet-base-v2", "all-MiniLM-L6-v2"),
        ("embed", "models"),
    )
    assert kept.limits == Limits(600, 100_000, 9000, 1_000_000, 86_400)
    assert (kept.injection, kept.cache) == (InjectionPolicy.FLAG, False)
    assert abs(kept.expires_at - kept.created_at - 90 * DAY) < 1


@pytest.mark.parametrize(
    "arguments",
    [["=1+1"], ["[red]a"], ["a\x1b[31m"], [""], ["emb_" + "a" * 43], ["a", "--owner", "@SUM(1)"]],
)
def test_a_name_that_cannot_be_is_a_line_and_status_2_and_no_key(shell, arguments):
    ran = shell("keys", "create", *arguments, status=2)
    what = "--owner" if len(arguments) > 1 else "a key's name"
    assert ran.err.startswith(f"embedsvc: {what} must ")
    assert (ran.out, ran.err.count("\n"), shell.keys) == ("", 1, [])
    assert not any(argument and argument in ran.err for argument in arguments if argument not in ("a", what))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--requests-per-minute", "0"),
        ("--tokens-per-minute", "-5"),
        ("--quota-tokens", "1e30"),
        ("--quota-seconds", "0"),
        ("--expires-days", "0"),
        ("--expires-days", "-1"),
        ("--expires-days", "nan"),
        ("--expires-days", "1000000000"),
        ("--call", "everything"),
        ("--injection", "maybe"),
    ],
)
def test_a_value_that_cannot_be_is_named_and_makes_no_key(shell, capsys, option, value):
    with pytest.raises(SystemExit) as ended:
        shell("keys", "create", "alice", f"{option}={value}")
    assert ended.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err
    assert shell.keys == []


def test_keys_that_work_are_listed_and_with_all_the_others_too(shell):
    shell.add("old", age=5, revoked_at=1.0)
    shell.add("gone", age=4, expires_at=time.time() - 1)
    shell.add("tired", age=3, successor="b" * 64, expires_at=time.time() + DAY)
    shell.add("fresh")
    working = shell("keys", "list", "--format=json").json
    assert [(key["name"], key["state"]) for key in working] == [("tired", "rotated"), ("fresh", "active")]
    everything = shell("keys", "list", "--all", "--format=json").json
    assert [(key["name"], key["state"]) for key in everything[:2]] == [
        ("old", "revoked"),
        ("gone", "expired"),
    ]
    assert everything[2:] == working


def test_a_list_says_of_a_key_what_tells_it_from_others_and_never_its_digest(shell):
    _, record = shell.add("alice", owner="Search", expires_at=time.time() + DAY, used_at=time.time())
    expected = {
        "prefix": record.prefix,
        "name": "alice",
        "owner": "Search",
        "state": "active",
        "cache": "yes",
        "created": moment(record.created_at),
        "expires": moment(record.expires_at),
        "last_use": moment(record.used_at),
    }
    assert shell("keys", "list", "--format=json").json == [expected]
    (row,) = csv.DictReader(io.StringIO(shell("keys", "list", "--format=csv").out))
    assert row == expected
    table = shell("keys", "list").out
    assert all(cell in table for cell in expected.values())
    assert record.digest not in table


def test_a_list_says_of_which_keys_the_cache_sees_nothing(shell):
    shell.add("alice")
    shell.add("bob", cache=False)
    found = shell("keys", "list", "--format=json").json
    assert [(key["name"], key["cache"]) for key in found] == [("alice", "yes"), ("bob", "no")]


def test_what_is_not_known_of_a_key_is_null_empty_or_a_dash(shell):
    _, record = shell.add("alice", prefix="emb_")
    (shown,) = shell("keys", "list", "--format=json").json
    assert (shown["prefix"], shown["expires"], shown["last_use"]) == (record.digest[:16], None, None)
    assert shell("keys", "list", "--format=csv").out.endswith(f",{moment(record.created_at)},,\n")
    assert shell("keys", "list").out.rstrip().endswith("-")


def test_everything_that_is_kept_of_a_key_can_be_shown(shell):
    key, record = shell.add("alice", models=("m",), limits=Limits(5), injection=InjectionPolicy.OFF)
    for named in ("alice", record.prefix, record.digest, key):
        shown = shell("keys", "show", named)
        assert key not in shown.out
        assert shown.json == {
            "digest": record.digest,
            "prefix": record.prefix,
            "name": "alice",
            "owner": "",
            "models": ["m"],
            "calls": [],
            "limits": {
                "requests_per_minute": 5,
                "tokens_per_minute": None,
                "quota_requests": None,
                "quota_tokens": None,
                "quota_seconds": 3600,
            },
            "injection": "off",
            "cache": True,
            "created_at": record.created_at,
            "expires_at": None,
            "revoked_at": None,
            "used_at": None,
            "successor": None,
            "state": "active",
        }


@pytest.mark.parametrize("command", ["show", "revoke", "rotate"])
def test_a_key_that_is_not_there_is_a_line_and_status_2(shell, command):
    ran = shell("keys", command, "nobody", status=2)
    assert ran.err.startswith("embedsvc: no key ")
    assert (ran.out, ran.err.count("\n")) == ("", 1)


def test_all_keys_of_a_name_that_work_are_revoked(shell):
    _, old = shell.add("alice", age=1, successor="b" * 64, expires_at=time.time() + DAY)
    _, new = shell.add("alice")
    _, other = shell.add("bob")
    ran = shell("keys", "revoke", "alice")
    assert ran.out == ""
    assert ran.err.splitlines() == [
        f"alice ({key.prefix}) stops working everywhere within 60 seconds" for key in (old, new)
    ]
    assert [key.name for key in shell.keys if key.revoked_at is None] == ["bob"]
    assert other in shell.keys


def test_one_key_of_several_is_revoked_by_its_prefix_or_by_itself(shell):
    _, one = shell.add("alice", age=2)
    leaked, _ = shell.add("alice", age=1)
    shell.add("alice")
    shell("keys", "revoke", one.prefix)
    ran = shell("keys", "revoke", leaked)
    assert leaked not in ran.err
    assert [key.revoked_at is None for key in shell.keys] == [False, False, True]


def test_a_key_that_is_revoked_stays_revoked_as_it_was(shell):
    _, record = shell.add("alice", revoked_at=1.0)
    shell("keys", "revoke", "alice", status=2)
    assert shell.keys == [record]


def test_keys_are_imported_once(shell, tmp_path):
    file = tmp_path / "keys"
    key = token.generate()
    file.write_text(f"# old service\n{key} alice\n{token.digest('emb_b')} bob\n")
    assert shell("keys", "import", file).err == "2 keys imported, 0 were there already\n"
    before = shell.keys
    assert [(kept.name, kept.prefix) for kept in before] == [("alice", key[:12]), ("bob", "emb_")]
    with file.open("a") as more:
        more.write(f"{token.digest('emb_c')} carol\n")
    assert shell("keys", "import", file).err == "1 keys imported, 2 were there already\n"
    assert shell.keys[:2] == before


@pytest.mark.parametrize("content", [b"alice", b"\xff\xfe", f"{'a' * 64} =1+1".encode(), None])
def test_a_file_that_cannot_be_imported_is_a_line_and_imports_nothing(shell, tmp_path, content):
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(f"{'b' * 64} bob\n".encode() + content)
    ran = shell("keys", "import", file, status=2)
    assert ran.err.startswith("embedsvc: import")
    assert (ran.err.count("\n"), shell.keys) == (1, [])


@pytest.mark.parametrize("arguments", [[], ["create"], ["rotate"], ["rotate", "alice", "--due"], ["show"]])
def test_a_command_that_says_too_little_or_too_much_is_told_how_it_is_used(shell, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        shell("keys", *arguments)
    assert ended.value.code == 2
    assert "usage: embedsvc keys" in capsys.readouterr().err


def test_a_second_key_of_a_name_is_refused_until_the_first_works_no_more(shell):
    shell("keys", "create", "alice")
    ran = shell("keys", "create", "alice", status=2)
    assert "there is an active key called 'alice'" in ran.err
    shell("keys", "revoke", "alice")
    shell("keys", "create", "alice")
