"""secret.environment: a secret in the environment stops the start, and others do not."""

import pytest

from embedsvc.errors import ConfigurationError
from embedsvc.keys.token import generate
from embedsvc.secret.environment import refuse_secrets

EVERYTHING = frozenset({"aws", "convex", "vault"})
VALUE = "hunter2hunter2"


def refused(environ, uses=EVERYTHING, harmless=frozenset()):
    """What is said of an environment; none of its values is in it."""
    with pytest.raises(ConfigurationError) as raised:
        refuse_secrets(environ, uses, harmless)
    said = str(raised.value)
    assert not any(value in said for value in environ.values())
    return said


@pytest.mark.parametrize("form", ["{}", "Bearer {}", " {}\n", '["{}"]', "-H 'authorization: Bearer {}'"])
@pytest.mark.parametrize("name", ["MY_KEY", "OPENAI_API_KEY", "EMBEDSVC_LOG__LEVEL", "EMBEDSVC_API_KEY", "x"])
def test_an_api_key_of_ours_is_refused_in_any_variable(name, form):
    key = generate()
    said = refused({name: form.format(key)}, frozenset())
    assert said.startswith(f"environment variable {name} holds one of this service's API keys")
    assert key not in said


@pytest.mark.parametrize("value", ["emb_short", f"emb_{'x' * 44}", f"premb_{'x' * 43}", "emb_" + "é" * 43])
def test_what_only_begins_as_a_key_does_is_none(value):
    refuse_secrets({"NOTE": value}, EVERYTHING)


@pytest.mark.parametrize(
    "name",
    [
        "EMBEDSVC_CONVEX__ADMIN_KEY",
        "EMBEDSVC_SIGNING__SECRET",
        "EMBEDSVC_VAULT__TOKEN",
        "EMBEDSVC_DB_PASSWORD",
        "EMBEDSVC_API_KEY",
        "embedsvc_convex__admin_key",
    ],
)
def test_a_setting_with_a_secrets_name_must_say_where_the_secret_is(name):
    said = refused({name: VALUE}, frozenset())
    assert said.startswith(f"environment variable {name} has a secret's name")
    assert "file:PATH, vault:MOUNT/PATH#FIELD or aws:SECRET_ID#FIELD" in said
    assert "docs/secrets.md" in said


@pytest.mark.parametrize("value", ["file:/run/secrets/key", "vault:secret/embedsvc#key", "aws:embedsvc", ""])
def test_a_setting_that_says_where_a_secret_is_or_nothing_is_none(value):
    refuse_secrets({"EMBEDSVC_CONVEX__ADMIN_KEY": value}, EVERYTHING)


def test_settings_that_are_known_to_be_paths_are_none_unless_they_hold_an_api_key():
    harmless = frozenset({"EMBEDSVC_TLS__KEY", "EMBEDSVC_EDGE__KEY"})
    refuse_secrets({"EMBEDSVC_TLS__KEY": "/certs/a.key", "embedsvc_edge__key": "b.key"}, EVERYTHING, harmless)
    assert "EMBEDSVC_TLS__KEY" in refused({"EMBEDSVC_TLS__KEY": generate()}, harmless=harmless)


@pytest.mark.parametrize(
    ("use", "name", "instead"),
    [
        ("convex", "CONVEX_SELF_HOSTED_ADMIN_KEY", "store.admin_key"),
        ("convex", "CONVEX_DEPLOY_KEY", "store.admin_key"),
        ("vault", "VAULT_TOKEN", "vault.token_file"),
        ("aws", "AWS_SECRET_ACCESS_KEY", "shared credentials file"),
        ("aws", "AWS_SESSION_TOKEN", "shared credentials file"),
        ("providers", "OPENAI_API_KEY", "providers.NAME.key"),
        ("providers", "OPENAI_ADMIN_KEY", "providers.NAME.key"),
    ],
)
def test_what_a_library_would_take_is_refused_only_where_it_is_used(use, name, instead):
    said = refused({name: VALUE}, frozenset({use}))
    assert said.startswith(f"environment variable {name} holds a secret")
    assert instead in said
    refuse_secrets({name: VALUE}, EVERYTHING - {use})
    refuse_secrets({name: ""}, EVERYTHING)


@pytest.mark.parametrize(
    "name",
    [
        "COHERE_API_KEY",
        "GITHUB_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_SHARED_CREDENTIALS_FILE",
        "VAULT_ADDR",
        "EMBEDSVC_ENGINE__BATCH_TOKENS",
        "EMBEDSVC_VAULT__TOKEN_FILE",
        "EMBEDSVC_AUTH__KEYS_FILE",
    ],
)
def test_what_is_somebody_elses_or_no_secret_is_let_be(name):
    refuse_secrets({name: VALUE}, EVERYTHING)


def test_all_that_is_found_is_told_at_once():
    said = refused({"VAULT_TOKEN": VALUE, "EMBEDSVC_SIGNING__SECRET": VALUE, "NOTE": generate()})
    assert all(name in said for name in ("VAULT_TOKEN", "EMBEDSVC_SIGNING__SECRET", "NOTE"))
