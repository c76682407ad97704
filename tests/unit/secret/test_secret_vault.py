"""secret.vault: hvac itself, against a stand-in that speaks Vault's HTTP API."""

import pytest
from pydantic import ValidationError
from support.pki import write
from support.vault import run_vault

from embedsvc.dev import pki
from embedsvc.secret.reference import SecretRef
from embedsvc.secret.settings import VaultSettings
from embedsvc.secret.source import SecretError
from embedsvc.secret.vault import VaultSource

REF = SecretRef.parse("vault:secret/embedsvc/prod#key")


@pytest.fixture
def vault():
    with run_vault() as running:
        running.put("embedsvc/prod", key="s3cret", other="0ther")
        yield running


@pytest.fixture
def token_file(vault, tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{vault.issue()}\n")
    return path


@pytest.fixture
def account(tmp_path):
    path = tmp_path / "account"
    path.write_text("jwt-of-the-pod")
    return path


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch, tmp_path):
    """hvac looks for a token of the person who runs it; none of these tests may find one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.delenv("VAULT_TOKEN", raising=False)


@pytest.fixture
def make(vault):
    """Sources of the Vault that runs."""
    sources = []

    def make(**values):
        sources.append(VaultSource(VaultSettings(**{"address": vault.address} | values)))
        return sources[-1]

    yield make
    for source in sources:
        source.close()


@pytest.fixture
def source(make, token_file):
    return make(token_file=token_file)


def test_a_field_of_the_latest_version_is_had(vault, source):
    assert source.fetch(REF) == b"s3cret"
    vault.put("embedsvc/prod", key="s3cret-2\n")
    assert source.fetch(REF) == b"s3cret-2"
    assert vault.asked == ["GET /v1/secret/data/embedsvc/prod"] * 2


@pytest.mark.parametrize("mount", ["kv", "teams/search/kv"])
def test_an_engine_of_another_name_is_read_whose_slashes_the_settings_tell_of(token_file, make, vault, mount):
    vault.mounts = (mount,)
    vault.put("embedsvc/prod", mount=mount, key="elsewhere")
    source = make(token_file=token_file, mount=mount if "/" in mount else "secret")
    assert source.fetch(SecretRef.parse(f"vault:{mount}/embedsvc/prod#key")) == b"elsewhere"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("vault:secret/embedsvc/prod#keys", "it has no field keys"),
        ("vault:secret/embedsvc/test#key", "Vault has no such secret"),
        ("vault:kv/embedsvc/prod#key", "Vault has no such secret"),
    ],
)
def test_a_secret_that_is_not_there_is_told_of(source, text, reason):
    with pytest.raises(SecretError, match=f"^{reason}$"):
        source.fetch(SecretRef.parse(text))


def test_a_version_that_was_deleted_is_told_of(vault, source):
    vault.delete("embedsvc/prod")
    with pytest.raises(SecretError, match="latest version of the secret is deleted"):
        source.fetch(REF)


@pytest.mark.parametrize("value", [4711, True, {"a": "b"}])
def test_a_field_that_is_no_string_is_refused_without_its_value(vault, source, value):
    vault.put("embedsvc/prod", key=value)
    with pytest.raises(SecretError, match=r"^its field key is not a string$"):
        source.fetch(REF)


def test_a_token_that_expires_is_taken_from_its_file_anew(vault, source, token_file):
    source.fetch(REF)
    vault.tokens.clear()
    token_file.write_text(vault.issue())
    assert source.fetch(REF) == b"s3cret"


def test_a_token_that_vault_refuses_is_told_of_and_not_shown(vault, source, token_file):
    vault.tokens.clear()
    with pytest.raises(SecretError, match=r"^Vault answers Forbidden: permission denied$") as refused:
        source.fetch(REF)
    assert token_file.read_text().strip() not in str(refused.value)


def test_a_token_file_that_is_not_there_is_named(make, tmp_path):
    with pytest.raises(SecretError, match=r"vault\.token_file .*absent: No such file"):
        make(token_file=tmp_path / "absent").fetch(REF)


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nwords", b"\xff\xfe"])
def test_a_token_file_without_a_token_is_named(make, token_file, content):
    token_file.write_bytes(content)
    with pytest.raises(SecretError, match=r"vault\.token_file .*token: it is not a token"):
        make(token_file=token_file).fetch(REF)


def test_the_token_of_the_person_who_starts_the_server_is_not_used(vault, make, monkeypatch, tmp_path):
    monkeypatch.setenv("VAULT_TOKEN", vault.issue())
    (tmp_path / ".vault-token").write_text(vault.issue())
    source = make(token_file=tmp_path / "absent")
    for _ in range(2):
        with pytest.raises(SecretError, match=r"vault\.token_file"):
            source.fetch(REF)


def test_a_kubernetes_service_account_logs_in_once_and_again_when_its_token_expires(vault, make, account):
    vault.accounts["embedsvc"] = "jwt-of-the-pod"
    source = make(auth="kubernetes", role="embedsvc", service_account_file=account)
    assert [source.fetch(REF) for _ in range(3)] == [b"s3cret"] * 3
    assert vault.logins == 1
    vault.tokens.clear()
    vault.accounts["embedsvc"] = "jwt-of-the-pod-2"
    account.write_text("jwt-of-the-pod-2")
    assert source.fetch(REF) == b"s3cret"
    assert vault.logins == 2


@pytest.mark.parametrize(
    ("role", "reason"),
    [("embedsvc", "Forbidden: permission denied"), ("stranger", "InvalidRequest: invalid role name")],
)
def test_a_service_account_that_vault_does_not_know_is_told_of(vault, make, account, role, reason):
    vault.accounts["embedsvc"] = "jwt-of-another-pod"
    with pytest.raises(SecretError, match=f"Vault answers {reason}") as refused:
        make(auth="kubernetes", role=role, service_account_file=account).fetch(REF)
    assert "jwt" not in str(refused.value)


def test_a_service_account_without_a_role_is_no_setting():
    with pytest.raises(ValidationError, match='auth = "kubernetes" needs role'):
        VaultSettings(auth="kubernetes")


def test_a_namespace_is_asked_for(vault, make, token_file):
    vault.namespace = "search"
    assert make(token_file=token_file, namespace="search").fetch(REF) == b"s3cret"
    with pytest.raises(SecretError, match="permission denied"):
        make(token_file=token_file).fetch(REF)


def test_a_vault_that_is_sealed_is_told_of_and_asked_again_later(vault, source):
    vault.sealed = True
    with pytest.raises(SecretError, match="Vault answers VaultDown: Vault is sealed"):
        source.fetch(REF)
    vault.sealed = False
    assert source.fetch(REF) == b"s3cret"


def test_a_vault_that_hangs_is_waited_for_no_longer_than_the_settings_say(vault, make, token_file):
    vault.open.clear()
    with pytest.raises(SecretError, match=r"http://127\.0\.0\.1:\d+ is not reached: ReadTimeout"):
        make(token_file=token_file, timeout_seconds=0.1).fetch(REF)


def test_a_vault_that_is_away_is_told_of_with_its_address(make, token_file):
    with pytest.raises(
        SecretError, match=r"^Vault at http://127\.0\.0\.1:9 is not reached: ConnectionError$"
    ):
        make(token_file=token_file, address="http://127.0.0.1:9").fetch(REF)


def test_what_something_in_between_answers_is_not_taken_for_a_secret(vault, make, source, account):
    vault.garbled = True
    with pytest.raises(SecretError, match="not one of Vault's KV engine"):
        source.fetch(REF)
    with pytest.raises(SecretError, match="answer to a login has no token"):
        make(auth="kubernetes", role="embedsvc", service_account_file=account).fetch(REF)


@pytest.mark.parametrize("address", ["127.0.0.1:8200", "ftp://vault", "https://me:hunter2@vault", "https://"])
def test_an_address_is_of_http_and_has_no_password(address):
    with pytest.raises(ValidationError, match="address") as refused:
        VaultSettings(address=address)
    assert "hunter2" not in str(refused.value)


def test_vault_is_trusted_by_its_ca_and_by_no_other(tmp_path):
    ca = pki.make_ca()
    write(tmp_path, "ca", ca)
    write(tmp_path, "other", pki.make_ca())
    write(tmp_path, "server", pki.make_server(ca))
    with run_vault(tmp_path) as vault:
        vault.put("embedsvc/prod", key="s3cret")
        (tmp_path / "token").write_text(vault.issue())
        settings = VaultSettings(address=vault.address, token_file=tmp_path / "token", ca=tmp_path / "ca.crt")
        trusting, wary = (
            VaultSource(settings),
            VaultSource(settings.model_copy(update={"ca": tmp_path / "other.crt"})),
        )
        assert trusting.fetch(REF) == b"s3cret"
        with pytest.raises(SecretError, match="SSLError"):
            wary.fetch(REF)
        trusting.close()
        wary.close()
