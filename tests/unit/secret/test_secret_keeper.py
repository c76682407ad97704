"""secret.keeper: secrets are there without waiting, follow their place, and are never shown."""

import asyncio
import subprocess
import sys
import threading

import pytest

from embedsvc.errors import ConfigurationError
from embedsvc.secret.keeper import Secret, open_secrets
from embedsvc.secret.reference import SecretRef
from embedsvc.secret.settings import AwsSettings, VaultSettings

SECONDS = 10
NOWHERE = "http://127.0.0.1:9"
FROM_VAULT = SecretRef.parse("vault:secret/embedsvc#key")
FROM_AWS = SecretRef.parse("aws:embedsvc")


def test_a_secret_is_not_shown(ref):
    secret = Secret(ref, b"s3cret", bytes)
    assert repr(secret) == str(secret) == f"{secret}" == f"Secret({ref})"
    assert not hasattr(secret, "__dict__")


def number(content):
    if not content.strip().isdigit():
        raise ValueError("there is no number")
    return int(content)


def test_a_secret_means_what_its_parser_says_and_keeps_that_where_a_change_means_nothing():
    secret = Secret(FROM_AWS, b"1", number)
    secret.replace(b"2")
    with pytest.raises(ValueError, match="there is no number"):
        secret.replace(b"s3cret")
    assert (secret.value, secret.meaning) == (b"2", 2)


async def test_what_means_nothing_at_the_start_stops_the_start_and_names_setting_and_place(ref):
    with pytest.raises(ConfigurationError, match=rf"^a\.b \({ref}\): there is no number$"):
        async with open_secrets({"a.b": ref}, parsers={"a.b": number}):
            pass


async def test_a_change_is_parsed_behind_everybodys_back(path, ref, rewrite, becomes):
    path.write_text("1")
    threads = []

    def parse(content):
        threads.append(threading.current_thread())
        return number(content)

    async with open_secrets({"a": ref}, parsers={"a": parse}) as secrets:
        rewrite("2")
        await becomes(secrets["a"], b"2")
        assert secrets["a"].meaning == 2
    assert len(threads) == 2
    assert threading.current_thread() not in threads


async def test_secrets_of_several_places_are_there_from_the_start_by_setting(ref, vault_settings):
    refs = {"convex.admin_key": ref, "signing.secret": FROM_VAULT}
    async with open_secrets(refs, vault_settings) as secrets:
        assert {setting: secret.value for setting, secret in secrets.items()} == dict.fromkeys(
            refs, b"s3cret"
        )
        assert [secret.ref for secret in secrets.values()] == list(refs.values())


async def test_without_references_no_place_is_asked():
    async with open_secrets({}) as secrets:
        assert secrets == {}


def test_what_only_vault_or_aws_needs_is_not_imported_for_files(path):
    program = (
        "import asyncio, sys\n"
        "from embedsvc.secret.keeper import SecretRef, open_secrets\n"
        "async def main():\n"
        "    async with open_secrets({'a': SecretRef('file', sys.argv[1])}) as secrets:\n"
        "        print(secrets['a'].value.decode(), {'hvac', 'boto3', 'botocore'} & set(sys.modules))\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert ran.stdout == "s3cret set()\n"


@pytest.mark.parametrize(
    ("ref", "library", "extra"),
    [(FROM_VAULT, "hvac.exceptions", "vault"), (FROM_AWS, "botocore.exceptions", "aws")],
)
async def test_what_is_not_installed_stops_the_start_with_how_to_install_it(monkeypatch, ref, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigurationError, match=rf"a\.b .*pip install 'embedsvc\[{extra}\]'"):
        async with open_secrets({"a.b": ref}):
            pass


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        (SecretRef("file", "absent"), "No such file"),
        (FROM_VAULT, "Vault at http://127.0.0.1:9 is not reached"),
        (FROM_AWS, "AWS is not reached"),
    ],
)
async def test_a_secret_that_cannot_be_had_stops_the_start_and_its_setting_is_named(
    monkeypatch, tmp_path, ref, reason
):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "token").write_text("hvs.token")
    vault = VaultSettings(address=NOWHERE, token_file=tmp_path / "token")
    aws = AwsSettings(endpoint_url=NOWHERE, region="eu-west-1")
    with pytest.raises(ConfigurationError, match=rf"^convex\.admin_key \({ref}\): .*{reason}"):
        async with open_secrets({"convex.admin_key": ref}, vault, aws):
            pass


@pytest.mark.parametrize("content", ["", "\n", " \n\t\n"])
async def test_an_empty_secret_stops_the_start(path, ref, content):
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"^a\.b .*: it is empty$"):
        async with open_secrets({"a.b": ref}):
            pass


async def test_a_file_that_changes_is_noticed_in_the_background(ref, rewrite, becomes, logs):
    async with open_secrets({"convex.admin_key": ref}) as secrets:
        rewrite("s3cret-2\n")
        await becomes(secrets["convex.admin_key"], b"s3cret-2")
    assert [entry["event"] for entry in logs] == ["secret changed"]


async def test_a_secret_that_changes_in_vault_is_noticed_in_the_background(vault, vault_settings, becomes):
    async with open_secrets({"signing.secret": FROM_VAULT}, vault_settings) as secrets:
        vault.put("embedsvc", key="s3cret-2\ns3cret")
        await becomes(secrets["signing.secret"], b"s3cret-2\ns3cret")


async def test_after_the_context_nothing_is_looked_at(ref, rewrite):
    before = asyncio.all_tasks()
    async with open_secrets({"a": ref}) as secrets:
        assert len(asyncio.all_tasks() - before) == 1
    rewrite("s3cret-2")
    assert asyncio.all_tasks() <= before
    assert secrets["a"].value == b"s3cret"
