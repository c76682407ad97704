"""Files that nobody else may read are so from the first moment, whatever was there before."""

import pytest

from embedsvc.dev.files import write_private


@pytest.fixture
def path(tmp_path):
    return tmp_path / "key"


def mode(path):
    return path.stat().st_mode & 0o777


def test_only_the_owner_can_read_what_is_written(path):
    write_private(path, b"secret")
    assert (path.read_bytes(), mode(path)) == (b"secret", 0o600)


def test_what_a_write_that_was_cut_off_has_left_gives_its_permissions_to_nobody(path):
    left = path.with_name("key.new")
    left.write_bytes(b"a longer one that was never whole")
    left.chmod(0o644)
    write_private(path, b"secret")
    assert (path.read_bytes(), mode(path)) == (b"secret", 0o600)
    assert not left.exists()


def test_a_link_that_was_left_there_leads_nobody_to_the_secret(path, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    path.with_name("key.new").symlink_to(elsewhere)
    write_private(path, b"secret")
    assert elsewhere.read_bytes() == b"mine"
    assert not path.is_symlink()
