"""state: what a development machine keeps, made once and renewed in time."""

import datetime as dt
import stat

import pytest
from cryptography import x509

from embedsvc.config import Settings, TlsSettings
from embedsvc.dev import pki, state
from embedsvc.keys import finder, token
from embedsvc.operator.opening import opened_store
from embedsvc.tls import Certificates

HOLDERS = ("ca", "server", "health", "envoy", "edge", "client")
NAMES = [f"certs/{name}.{end}" for name in HOLDERS for end in ("crt", "key")]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".run"


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_first_start_makes_everything(folder):
    state.prepare()
    assert set(contents(folder)) == {"api_key", "api_keys", *NAMES}


def test_what_is_made_is_what_the_server_s_own_defaults_read():
    state.prepare()
    Certificates(TlsSettings()).credentials()
    (key,) = finder.parse(state.API_KEYS.read_bytes()).values()
    assert (key.digest, key.name) == (token.digest(state.API_KEY.read_text().strip()), "development")


async def test_the_store_knows_the_key_however_often_it_is_told():
    state.prepare()
    settings = Settings()
    await state.register(settings)
    await state.register(settings)
    async with opened_store(settings) as store:
        (key,) = await store.list_keys()
    assert (key.digest, key.name) == (token.digest(state.API_KEY.read_text().strip()), "development")


def test_only_the_owner_can_read_it(folder):
    state.prepare()
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_second_start_changes_nothing(folder):
    state.prepare()
    before = contents(folder)
    state.prepare()
    assert contents(folder) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_renews_the_certificates_and_keeps_the_ca_and_the_key(folder, name):
    state.prepare()
    before = contents(folder)
    (folder / name).unlink()
    state.prepare()
    after = contents(folder)
    kept = set() if "certs/ca." in name else {"certs/ca.crt", "certs/ca.key"}
    assert {at for at in after if after[at] != before[at]} == set(NAMES) - kept


@pytest.mark.parametrize("name", ["api_key", "api_keys"])
def test_a_missing_key_is_made_anew_and_the_certificates_kept(folder, name):
    state.prepare()
    before = contents(folder)
    (folder / name).unlink()
    state.prepare()
    after = contents(folder)
    assert {at for at in after if after[at] != before[at]} == {"api_key", "api_keys"}


@pytest.mark.parametrize(("days", "renewed"), [(29, True), (31, False)])
def test_certificates_are_renewed_before_they_expire(folder, monkeypatch, days, renewed):
    monkeypatch.setattr(pki, "LEAF_DAYS", days)
    state.prepare()
    monkeypatch.undo()
    monkeypatch.chdir(folder.parent)
    state.prepare()
    left = x509.load_pem_x509_certificate((folder / "certs/server.crt").read_bytes()).not_valid_after_utc
    assert (left - dt.datetime.now(dt.UTC) > dt.timedelta(days=300)) is renewed


@pytest.mark.parametrize("name", ["certs/server.crt", "certs/ca.crt"])
def test_a_certificate_that_was_cut_short_is_renewed(folder, name):
    state.prepare()
    (folder / name).write_bytes(b"")
    state.prepare()
    assert x509.load_pem_x509_certificate((folder / name).read_bytes())
