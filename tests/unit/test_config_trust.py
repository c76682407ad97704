"""config.trust, and config.load of it: who may call, how much, and where the secrets for it are."""

import json
import os
from pathlib import Path

import pytest

from embedsvc.config import IdentitySettings, RateSettings, Settings, StoreSettings, load
from embedsvc.errors import ConfigurationError
from embedsvc.keys.token import generate
from embedsvc.secret.reference import SecretRef
from embedsvc.store.records import InjectionPolicy, Limits

KEY_FILE = SecretRef("file", "/run/secrets/convex_admin_key")


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No variables of whoever runs the tests, and no file in the working folder."""
    for name in os.environ:
        if name.startswith(("EMBEDSVC_", "CONVEX_", "VAULT_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def read(tmp_path):
    """Loads some TOML."""

    def write(text):
        path = tmp_path / "some.toml"
        path.write_text(text)
        return load(path)

    return write


def test_by_default_every_certificate_may_call_with_a_key_and_envoy_s_forwards():
    envoy, anybody = load().auth.identities
    assert (envoy.name, envoy.match, envoy.forwards) == ("envoy", ("spiffe://embedsvc.internal/envoy",), True)
    assert (anybody.name, anybody.match, anybody.forwards) == ("any", ("*",), False)
    for identity in (envoy, anybody):
        assert (identity.key, identity.signed, identity.models) == ("required", "optional", ())
        assert identity.calls == ("embed", "stream", "models")
        assert identity.limits == Limits()


def test_by_default_all_is_kept_on_this_machine_and_nothing_is_a_secret():
    settings = load()
    assert (settings.store.kind, settings.store.path) == ("sqlite", Path(".run/embedsvc.db"))
    assert settings.store.url == "http://localhost:3210"
    assert (settings.ledger.retention_days, settings.ledger.usage_retention_days) == (30, 400)
    assert settings.injection.policy is InjectionPolicy.REJECT
    assert (settings.references, settings.places) == ({}, frozenset())


IDENTITIES = """
    [[auth.identities]]
    name = "search"
    match = ["spiffe://internal/search", "search.internal"]
    key = "optional"
    calls = ["embed"]
    models = ["all-MiniLM-L6-v2"]
    signed = "required"
    signing_secret = "vault:secret/search#signing"
    requests_per_minute = 600
    quota_tokens = 1000000
    quota_seconds = 86400
    [[auth.identities]]
    name = "anybody"
    match = ["*"]
"""


def test_identities_are_tables_of_the_file_in_their_order(read):
    search, anybody = read(IDENTITIES).auth.identities
    assert search == IdentitySettings(
        name="search",
        match=("spiffe://internal/search", "search.internal"),
        key="optional",
        calls=("embed",),
        models=("all-MiniLM-L6-v2",),
        signed="required",
        signing_secret=SecretRef("vault", "secret/search", "signing"),
        requests_per_minute=600,
        quota_tokens=1_000_000,
        quota_seconds=86_400,
    )
    assert search.limits == Limits(600, None, None, 1_000_000, 86_400)
    assert anybody == IdentitySettings(name="anybody", match=("*",))


def test_identities_in_the_environment_are_json_and_win_over_the_file(read, monkeypatch):
    said = [{"name": "only", "match": ["*"], "signing_secret": "file:/run/secrets/only"}]
    monkeypatch.setenv("EMBEDSVC_AUTH__IDENTITIES", json.dumps(said))
    (only,) = read(IDENTITIES).auth.identities
    assert (only.name, only.signing_secret) == ("only", SecretRef("file", "/run/secrets/only"))


@pytest.mark.parametrize("said", ["only", "{", "[1]", '[{"name": "only"}]', "[]"])
def test_identities_in_the_environment_that_cannot_be_are_named(monkeypatch, said):
    monkeypatch.setenv("EMBEDSVC_AUTH__IDENTITIES", said)
    with pytest.raises(ConfigurationError, match="auth"):
        load()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('name = "a b"', "name"),
        ('name = ""', "name"),
        ('name = "a\\n"', "name"),
        (f'name = "{"x" * 65}"', "name"),
        ("match = []", "match"),
        ('match = "*"', "match"),
        ('match = [""]', "match"),
        ('match = ["a", "spiffe://*/b"]', "match"),
        ('key = "perhaps"', "key"),
        ('calls = ["everything"]', r"calls\.0"),
        ('signed = "perhaps"', "signed"),
        ('signing_secret = "hunter2hunter2"', "signing_secret"),
        ("requests_per_minute = 0", "requests_per_minute"),
        ("quota_seconds = 0", "quota_seconds"),
        ('forwards = "perhaps"', "forwards"),
        ("colour = 1", "colour: no such setting"),
    ],
)
def test_an_impossible_value_of_an_identity_is_named_with_its_place(read, line, named):
    fields = {"name": 'name = "a"', "match": 'match = ["*"]'}
    fields.pop(line.split()[0], None)
    lines = "\n".join(["[[auth.identities]]", line, *fields.values()])
    with pytest.raises(ConfigurationError, match=rf"auth\.identities\.0\.{named}") as told:
        read(lines)
    assert "hunter2" not in str(told.value)


def test_identities_have_different_names(read):
    with pytest.raises(ConfigurationError, match=r"auth: .*identities must have different names"):
        read('[[auth.identities]]\nname = "a"\nmatch = ["*"]\n' * 2)


def test_an_identity_s_models_are_served_and_called_by_their_own_names(read):
    text = '[[auth.identities]]\nname = "a"\nmatch = ["*"]\nmodels = ["{}"]'
    assert read(text.format("all-mpnet-base-v2")).auth.identities[0].models == ("all-mpnet-base-v2",)
    for name in ("gte-large", "text-embedding-3-small"):
        with pytest.raises(ConfigurationError, match=rf"auth\.identities a: models: {name} is not served"):
            read(text.format(name))


def test_whoever_must_sign_has_a_secret_to_sign_with(read):
    with pytest.raises(ConfigurationError, match=r"auth\.identities\.0: .*needs signing_secret"):
        read('[[auth.identities]]\nname = "a"\nmatch = ["*"]\nsigned = "required"')


def test_convex_has_an_admin_key(read):
    with pytest.raises(ConfigurationError, match=r'store: .*kind = "convex" needs admin_key'):
        read('[store]\nkind = "convex"')
    store = read('[store]\nkind = "convex"\nadmin_key = "file:/run/secrets/convex_admin_key"').store
    assert (store.kind, store.admin_key) == ("convex", KEY_FILE)


@pytest.mark.parametrize("url", ["http://localhost:3210", "https://convex.internal", "http://[::1]:3210"])
def test_convex_is_a_server(url):
    assert StoreSettings(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "localhost:3210",
        "ftp://convex",
        "http://",
        "http://user:hunter2@convex",
        "http://convex/",
        "http://convex/path",
        "http://convex?key=hunter2",
        "http://convex#x",
        "http://con vex",
        "http://convex\\n",
    ],
)
def test_what_is_no_server_or_has_a_password_in_it_is_named_and_not_repeated(read, url):
    with pytest.raises(ConfigurationError, match=r"store\.url") as told:
        read(f'[store]\nurl = "{url}"')
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("store", 'kind = "redis"'),
        ("rates", "requests_per_minute = 0"),
        ("rates", "shared_requests_per_minute = -1"),
        ("ledger", "retention_days = 0"),
        ("ledger", "queue_rows = 199"),
        ("ledger", "drain_seconds = 0"),
        ("injection", 'policy = "perhaps"'),
        ("auth", 'keys = "/run/secrets/keys"'),
        ("store", 'admin_key = "hunter2hunter2"'),
    ],
)
def test_an_impossible_value_is_named(read, section, line):
    with pytest.raises(ConfigurationError, match=rf"{section}\.{line.split()[0]}") as told:
        read(f"[{section}]\n{line}")
    assert "hunter2" not in str(told.value)


def test_all_together_are_limited_with_convex_or_where_it_is_said():
    sqlite, convex = StoreSettings(), StoreSettings(kind="convex", admin_key=KEY_FILE)
    assert [RateSettings().shared(store) for store in (sqlite, convex)] == [0, 2000]
    for said in (0, 50):
        rates = RateSettings(shared_requests_per_minute=said)
        assert [rates.shared(store) for store in (sqlite, convex)] == [said, said]


REFERENCES = """
    auth.keys = "aws:embedsvc#keys"
    store.kind = "convex"
    store.admin_key = "file:/run/secrets/convex_admin_key"
    tls.revoked = "/certs/revoked.pem"
"""


def test_all_secrets_are_known_by_the_setting_that_says_where_they_are(read):
    settings = read(REFERENCES + IDENTITIES)
    assert {setting: str(ref) for setting, ref in settings.references.items()} == {
        "auth.keys": "aws:embedsvc#keys",
        "store.admin_key": "file:/run/secrets/convex_admin_key",
        "tls.revoked": "file:/certs/revoked.pem",
        "auth.identities.search.signing_secret": "vault:secret/search#signing",
    }
    assert settings.places == {"convex", "aws", "vault"}


def test_references_in_the_environment_are_no_json(monkeypatch):
    monkeypatch.setenv("EMBEDSVC_STORE__KIND", "convex")
    monkeypatch.setenv("EMBEDSVC_STORE__ADMIN_KEY", "file:/run/secrets/convex_admin_key")
    monkeypatch.setenv("EMBEDSVC_AUTH__KEYS", "vault:secret/embedsvc#keys")
    settings = load()
    assert settings.store.admin_key == KEY_FILE
    assert settings.auth.keys == SecretRef("vault", "secret/embedsvc", "keys")
    assert settings.places == {"convex", "vault"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("EMBEDSVC_STORE__ADMIN_KEY", r"store\.admin_key"),
        ("EMBEDSVC_AUTH__KEYS", r"auth\.keys"),
        ("EMBEDSVC_STORE_ADMIN_KEY", "environment variable EMBEDSVC_STORE_ADMIN_KEY"),
        ("EMBEDSVC_AUTH__SIGNING_SECRET", r"auth\.signing_secret"),
    ],
)
def test_a_secret_where_a_reference_should_be_is_told_and_not_repeated(monkeypatch, name, told):
    monkeypatch.setenv(name, "hunter2hunter2")
    with pytest.raises(ConfigurationError, match=told) as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_a_secret_in_the_json_of_identities_is_not_repeated(monkeypatch):
    said = [{"name": "a", "match": ["*"], "signing_secret": "hunter2hunter2"}]
    monkeypatch.setenv("EMBEDSVC_AUTH__IDENTITIES", json.dumps(said))
    with pytest.raises(ConfigurationError, match=r"auth\.identities\.0\.signing_secret") as told:
        load()
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "EMBEDSVC_TLS__KEY", "NOTE"])
def test_an_api_key_of_ours_in_any_variable_stops_the_start(monkeypatch, name):
    key = generate()
    monkeypatch.setenv(name, key)
    with pytest.raises(ConfigurationError, match=f"environment variable {name} holds one of") as told:
        load()
    assert key not in str(told.value)


def test_the_path_of_a_private_key_is_none(monkeypatch):
    monkeypatch.setenv("EMBEDSVC_TLS__KEY", "/certs/server.key")
    assert load().tls.key == Path("/certs/server.key")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (REFERENCES, "CONVEX_SELF_HOSTED_ADMIN_KEY"),
        (REFERENCES, "AWS_SECRET_ACCESS_KEY"),
        (IDENTITIES, "VAULT_TOKEN"),
    ],
)
def test_what_a_place_for_secrets_would_take_from_the_environment_stops_the_start_where_it_is_used(
    read, monkeypatch, text, name
):
    monkeypatch.setenv(name, "hunter2hunter2")
    assert load() == Settings()
    with pytest.raises(ConfigurationError, match=f"environment variable {name} holds a secret"):
        read(text)
