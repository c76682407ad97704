"""secret.reference: a string says where a secret is, and never is the secret."""

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from embedsvc.secret.reference import Reference, SecretRef

KEY = "emb_" + "k" * 43
SECRET = "s3cr3t" * 7
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:embedsvc/convex-AbCdEf"


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("file:/run/secrets/convex_admin_key", SecretRef("file", "/run/secrets/convex_admin_key")),
        ("file:.run/key#1", SecretRef("file", ".run/key#1")),
        ("vault:secret/embedsvc#convex", SecretRef("vault", "secret/embedsvc", "convex")),
        ("vault:kv/team/embedsvc/prod#key", SecretRef("vault", "kv/team/embedsvc/prod", "key")),
        ("aws:embedsvc/convex", SecretRef("aws", "embedsvc/convex")),
        ("aws:embedsvc/convex#admin_key", SecretRef("aws", "embedsvc/convex", "admin_key")),
        (f"aws:{ARN}#admin_key", SecretRef("aws", ARN, "admin_key")),
    ],
)
def test_a_reference_is_read_and_shown_as_it_was_written(text, ref):
    assert SecretRef.parse(text) == ref
    assert str(ref) == text


@pytest.mark.parametrize(
    "text", ["vault:embedsvc#key", "vault:secret/embedsvc", "vault:secret//a#key", "vault:"]
)
def test_of_vault_it_has_a_mount_a_path_and_a_field(text):
    with pytest.raises(ValueError, match="must be vault:MOUNT/PATH#FIELD"):
        SecretRef.parse(text)


@pytest.mark.parametrize("text", ["aws:", "aws:#key", "aws:embedsvc#"])
def test_of_aws_it_has_a_name_and_no_empty_field(text):
    with pytest.raises(ValueError, match="must be aws:SECRET_ID or aws:SECRET_ID#FIELD"):
        SecretRef.parse(text)


@pytest.mark.parametrize("path", ["/run/secrets/key", "./key", "../key", "~/key"])
def test_a_plain_path_is_refused_with_how_to_write_it(path):
    with pytest.raises(ValueError, match="file: before the path"):
        SecretRef.parse(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file:",
        "key",
        "https://vault/key",
        "FILE:/run/secrets/key",
        "file:/run/secrets/key\n",
        "file:/run/\0key",
        SECRET,
        KEY,
        f"file:{KEY}",
        f"aws:secret#{KEY}",
        f"/{SECRET}",
        f"vault:{SECRET}",
        f"aws:{SECRET}#",
    ],
)
def test_what_is_no_reference_is_refused_and_not_repeated_since_it_may_be_the_secret(text):
    with pytest.raises(ValueError, match="must") as refused:
        SecretRef.parse(text)
    value = text.partition(":")[2] or text
    assert len(value) < 8 or value.strip("#") not in str(refused.value)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: Reference = SecretRef("file", "key")
    other: Reference | None = None
    many: dict[str, Reference] = {}


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="T_", env_nested_delimiter="__", hide_input_in_errors=True)

    section: Section = Section()


def test_as_a_setting_it_is_a_string_in_a_file_and_in_the_environment(monkeypatch):
    monkeypatch.setenv("T_SECTION__KEY", "file:/a")
    monkeypatch.setenv("T_SECTION__OTHER", "vault:secret/b#c")
    settings = Settings(section={"many": {"d": "aws:d"}})
    assert settings.section == Section(key="file:/a", other="vault:secret/b#c", many={"d": "aws:d"})
    assert settings.model_dump(mode="json")["section"]["key"] == "file:/a"


@pytest.mark.parametrize(
    "value", ["hunter2hunter2", ["hunter2hunter2"], {"scheme": "file", "name": "hunter2hunter2"}]
)
def test_a_setting_that_is_none_is_refused_without_its_value(value):
    with pytest.raises(ValidationError, match="must be a reference to a secret") as refused:
        Section(key=value)
    assert "hunter2" not in str(refused.value)
    assert all("hunter2" not in item["msg"] for item in refused.value.errors())
