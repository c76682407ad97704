"""secret.files: files as Docker and Kubernetes mount them."""

import os
from contextlib import contextmanager

import pytest

from embedsvc.secret.files import MOST_BYTES, FileSource
from embedsvc.secret.reference import SecretRef
from embedsvc.secret.source import SecretError

NOBODY = 65_534


@pytest.fixture
def path(tmp_path):
    return tmp_path / "key"


@pytest.fixture
def ref(path):
    return SecretRef("file", str(path))


@contextmanager
def without_rights():
    """Run as a user who may read nothing here; who is not root is one, once the file is closed to him."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"s3cret", b"s3cret"),
        (b"s3cret\n", b"s3cret"),
        (b"s3cret\r\n", b"s3cret"),
        (b"new\nold\n", b"new\nold"),
        (b" s3cret \n\n", b" s3cret \n"),
        (b"\x00\xff\r", b"\x00\xff\r"),
    ],
)
def test_a_secret_is_what_is_in_the_file_without_one_newline_at_the_end(path, ref, content, value):
    path.write_bytes(content)
    assert FileSource().fetch(ref) == value


def test_a_file_that_all_may_read_is_taken_since_docker_mounts_such(path, ref):
    path.write_text("s3cret")
    path.chmod(0o444)
    assert FileSource().fetch(ref) == b"s3cret"


def test_a_file_that_is_replaced_or_written_to_is_read_again(path, ref, tmp_path):
    source = FileSource()
    path.write_text("one")
    assert source.fetch(ref) == b"one"
    (tmp_path / "fresh").write_text("two")
    (tmp_path / "fresh").replace(path)
    assert source.fetch(ref) == b"two"
    path.write_text("three")
    assert source.fetch(ref) == b"three"
    path.write_text("drei!")
    os.utime(path, ns=(1, 1))
    assert source.fetch(ref) == b"drei!"


def test_a_file_that_has_not_changed_is_not_read_again(path, ref):
    source = FileSource()
    path.write_text("one")
    assert source.fetch(ref) is source.fetch(ref)


def test_the_swap_of_a_link_by_which_kubernetes_updates_is_followed(tmp_path):
    for name in ("..2026_11_25", "..2026_11_26"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
    (tmp_path / "..data").symlink_to("..2026_11_25")
    (tmp_path / "key").symlink_to("..data/key")
    source, ref = FileSource(), SecretRef("file", str(tmp_path / "key"))
    assert source.fetch(ref) == b"..2026_11_25"
    (tmp_path / "..data_tmp").symlink_to("..2026_11_26")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert source.fetch(ref) == b"..2026_11_26"


def test_a_file_that_is_removed_cannot_be_had_until_it_is_back(path, ref):
    source = FileSource()
    path.write_text("one")
    source.fetch(ref)
    path.unlink()
    with pytest.raises(SecretError, match="No such file"):
        source.fetch(ref)
    path.write_text("two")
    assert source.fetch(ref) == b"two"


def test_a_file_that_may_not_be_read_is_refused(path, ref):
    path.write_text("one")
    path.chmod(0)
    with without_rights(), pytest.raises(SecretError, match="Permission denied"):
        FileSource().fetch(ref)


def test_what_is_no_file_is_refused_and_not_waited_for(path, ref):
    path.mkdir()
    with pytest.raises(SecretError, match="not a regular file"):
        FileSource().fetch(ref)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(SecretError, match="not a regular file"):
        FileSource().fetch(ref)


def test_what_is_much_too_large_is_refused_and_not_read(path, ref):
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(SecretError, match=f"larger than {MOST_BYTES:,} bytes"):
        FileSource().fetch(ref)
