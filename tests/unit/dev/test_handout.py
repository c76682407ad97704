"""Each container's folder has what its role needs, and nothing of another's."""

import pytest

from embedsvc.dev import pki
from embedsvc.dev.handout import hand_out


@pytest.fixture
def run(tmp_path):
    """A state's folder with certificates and keys, as `embedsvc init` makes it."""
    (tmp_path / "certs").mkdir()
    for name, identity in pki.make_all(pki.make_ca()).items():
        (tmp_path / "certs" / f"{name}.crt").write_bytes(identity.certificate_pem)
        (tmp_path / "certs" / f"{name}.key").write_bytes(identity.key_pem)
    (tmp_path / "api_keys").write_text("digest development\n")
    hand_out(tmp_path)
    return tmp_path


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_role_has_its_own_keys_and_no_other(run):
    keys = {"server": {"server.key", "health.key"}, "envoy": {"envoy.key", "edge.key"}}
    for role, its in keys.items():
        assert {name for name in names(run / "secrets" / role) if name.endswith(".key")} == its


def test_nobody_is_given_the_key_that_signs(run):
    authority = (run / "certs" / "ca.key").read_bytes()
    assert not any(path.read_bytes() == authority for path in run.glob("secrets/**/*") if path.is_file())


def test_only_their_owner_can_read_them(run):
    files = [path for path in run.glob("secrets/**/*") if path.is_file()]
    assert files
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    folders = [run / "secrets", *(path for path in run.glob("secrets/*") if path.is_dir())]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_new_certificates_are_renamed_into_their_places(run):
    given = run / "secrets" / "envoy" / "edge.crt"
    before = given.stat().st_ino
    (run / "certs" / "edge.crt").write_text("new")
    hand_out(run)
    assert given.read_text() == "new"
    assert given.stat().st_ino != before
    assert "edge.crt.new" not in names(given.parent)


def test_what_has_not_changed_is_not_touched(run):
    files = [path for path in run.glob("secrets/**/*") if path.is_file()]
    before = [path.stat().st_ino for path in files]
    hand_out(run)
    assert [path.stat().st_ino for path in files] == before


def test_keys_and_passwords_that_were_changed_since_stay(run):
    keys, password = run / "secrets" / "server" / "api_keys", run / "secrets" / "grafana" / "admin_password"
    keys.write_text("digest search-team\n")
    password.write_text("chosen")
    hand_out(run)
    assert (keys.read_text(), password.read_text()) == ("digest search-team\n", "chosen")


def test_each_grafana_has_a_password_of_its_own(run):
    path = run / "secrets" / "grafana" / "admin_password"
    first = path.read_text()
    path.unlink()
    hand_out(run)
    assert len(first) >= 32
    assert path.read_text() != first
