"""operator.handover: a key goes to standard output or into a file, after it is kept and not before."""

import stat

import pytest

from embedsvc.errors import ConfigurationError
from embedsvc.keys import token
from embedsvc.operator.handover import file_of, handing_over, held
from embedsvc.operator.keys import make
from embedsvc.store.records import KeyRecord


@pytest.fixture
def made():
    return make(KeyRecord("", "", "team a/b"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "a.key"


@pytest.mark.parametrize(
    ("name", "file"),
    [("alice", "alice.key"), ("team a/b", "team_a_b.key"), ("a.b@c-d", "a.b@c-d.key"), ("a..", "a...key")],
)
def test_a_file_has_the_key_s_name_and_is_in_the_folder(tmp_path, name, file):
    assert file_of(tmp_path, name) == tmp_path / file


def test_a_key_is_shown_once_it_is_kept(made, capsys):
    with handing_over(made, None):
        assert capsys.readouterr().out == ""
    told = capsys.readouterr()
    assert told.out == f"{made.key}\n"
    assert made.key not in told.err


def test_a_key_is_in_its_file_once_it_is_kept(made, path, capsys):
    with handing_over(made, path):
        assert not path.exists()
    assert path.read_text() == f"{made.key}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"team a/b: {path}\n")


def test_a_file_is_replaced_and_never_half_written(made, path):
    path.parent.mkdir()
    path.write_text("before")
    path.chmod(0o644)
    with path.open() as reading:
        with handing_over(made, path):
            assert path.read_text() == "before"
        assert reading.read() == "before"
    assert path.read_text() == f"{made.key}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_what_somebody_put_beside_the_file_is_not_written_through(made, path, tmp_path):
    path.parent.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("before")
    path.with_suffix(".new").symlink_to(victim)
    path.symlink_to(victim)
    with handing_over(made, path):
        pass
    assert victim.read_text() == "before"
    assert not path.is_symlink()


@pytest.mark.parametrize("where", ["file", "output"])
def test_a_key_that_is_not_kept_is_nowhere(made, path, capsys, where):
    with pytest.raises(RuntimeError), handing_over(made, path if where == "file" else None):
        raise RuntimeError("the store is away")
    assert made.key not in capsys.readouterr().out
    assert not path.parent.exists() or list(path.parent.iterdir()) == []


def test_where_a_file_cannot_be_written_nothing_is_kept(made, path):
    path.parent.write_text("no folder")
    with pytest.raises(ConfigurationError, match=r"^--out: "), handing_over(made, path):
        pytest.fail("it was kept")


def test_what_a_file_holds_is_told_by_its_digest(made, path):
    assert held(path) is None
    path.parent.mkdir()
    path.write_text(f" {made.key}\n\n")
    assert held(path) == token.digest(made.key)


@pytest.mark.parametrize("content", [b"", b"emb_short\n", b"\xff\xfe", b"-----BEGIN PRIVATE KEY-----"])
def test_a_file_that_holds_something_else_is_named(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"^--out: .*a\.key"):
        held(path)


def test_a_folder_in_the_place_of_the_file_is_named(path):
    path.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"^--out: .*a\.key"):
        held(path)
