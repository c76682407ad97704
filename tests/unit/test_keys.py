"""keys: a file of digests, reread when it changes."""

import hashlib
import os
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from embedsvc import keys
from embedsvc.errors import ConfigurationError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "api_keys"


def write(path, *lines):
    """Replace the file as an operator's tools do, so that it is another one."""
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(f"{line}\n" for line in lines))
    fresh.replace(path)


def load(path):
    file = keys.KeyFile(path, seconds=0)
    file.load()
    return file


def test_keys_are_long_random_and_marked():
    made = {keys.generate() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("emb_") and len(key) == 47 for key in made)


def test_a_digest_is_the_sha256_of_the_key():
    assert keys.digest("emb_a") == hashlib.sha256(b"emb_a").hexdigest()


def test_keys_are_found_by_name_and_no_others(path):
    write(
        path,
        "# operators",
        "",
        f"{keys.digest('emb_a')} alice",
        f"  {keys.digest('emb_b').upper()} bob the builder ",
    )
    file = load(path)
    assert file.find("emb_a") == "alice"
    assert file.find("emb_b") == "bob the builder"
    for stranger in ("", "emb_c", "emb_A", keys.digest("emb_a"), "ключ"):
        assert file.find(stranger) is None


def test_the_file_holds_no_key(path):
    key = keys.generate()
    write(path, f"{keys.digest(key)} alice")
    assert load(path).find(key) == "alice"
    assert key.removeprefix("emb_") not in path.read_text()


def test_a_new_key_counts_and_a_removed_one_does_not_without_a_restart(path):
    write(path, f"{keys.digest('emb_a')} alice")
    file = load(path)
    write(path, f"{keys.digest('emb_b')} bob")
    assert (file.find("emb_a"), file.find("emb_b")) == (None, "bob")


def test_a_removed_key_holds_no_longer_than_a_second_however_often_it_is_used(path, monkeypatch):
    clock = iter([0.0, 0.4, 0.8, 1.2])
    monkeypatch.setattr(keys, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    write(path, f"{keys.digest('emb_a')} alice")
    file = keys.KeyFile(path)
    file.load()
    assert file.find("emb_a") == "alice"
    write(path, f"{keys.digest('emb_b')} bob")
    assert [file.find("emb_a") for _ in range(3)] == ["alice", "alice", None]


def test_a_new_key_counts_at_once_and_ends_what_held(path):
    write(path, f"{keys.digest('emb_a')} alice")
    file = keys.KeyFile(path, seconds=3600)
    file.load()
    assert file.find("emb_a") == "alice"
    write(path, f"{keys.digest('emb_b')} bob")
    assert file.find("emb_a") == "alice"
    assert (file.find("emb_b"), file.find("emb_a")) == ("bob", None)


def test_a_file_that_is_edited_in_place_is_reread(path):
    write(path, f"{keys.digest('emb_a')} alice")
    file = load(path)
    path.write_text(f"{keys.digest('emb_a')} alina\n")
    os.utime(path, ns=(1, 1))
    assert file.find("emb_a") == "alina"


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: write(path, "not a digest")])
def test_a_change_that_cannot_be_read_keeps_the_keys_of_before_and_is_logged(path, damage):
    write(path, f"{keys.digest('emb_a')} alice")
    file = load(path)
    damage(path)
    with capture_logs() as logs:
        assert file.find("emb_a") == "alice"
    [entry] = logs
    assert entry["log_level"] == "warning"
    assert "emb_a" not in str(entry)
    write(path, f"{keys.digest('emb_b')} bob")
    assert file.find("emb_b") == "bob"


@pytest.mark.parametrize(
    "line",
    [
        "emb_a alice",
        "abcd alice",
        keys.digest("emb_a"),
        keys.digest("emb_a") + "00 alice",
        f"alice {keys.digest('emb_a')}",
    ],
)
def test_a_line_of_another_form_stops_the_start_and_names_the_setting(path, line):
    write(path, line)
    with pytest.raises(ConfigurationError, match=r"auth\.keys_file .*api_keys"):
        load(path)


def test_a_missing_file_stops_the_start_and_names_the_setting(path):
    with pytest.raises(ConfigurationError, match=r"auth\.keys_file .*api_keys"):
        load(path)


def test_a_file_that_is_not_text_stops_the_start(path):
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"auth\.keys_file"):
        load(path)


@pytest.mark.parametrize("line", ["zz not-hexadecimal", "ab too-short", keys.digest("emb_a")])
def test_a_line_of_another_form_is_named(path, line):
    write(path, "# operators", "", f"{keys.digest('emb_b')} bob", line)
    with pytest.raises(ConfigurationError, match=r"line 4 must be a SHA-256 in hexadecimal"):
        load(path)
