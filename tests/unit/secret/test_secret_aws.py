"""secret.aws: boto3 itself, against moto's server, with credentials from a file."""

import json
import os
import socket
import urllib.request

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pydantic import ValidationError

from embedsvc.secret.aws import AwsSource
from embedsvc.secret.keeper import open_secrets
from embedsvc.secret.reference import SecretRef
from embedsvc.secret.settings import AwsSettings
from embedsvc.secret.source import SecretError

SECONDS = 10
REGION = "eu-west-1"
ANY = ("AKIAIOSFODNN7EXAMPLE", "not-checked-unless-a-test-says-so")
MAY_READ = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}


@pytest.fixture(scope="module")
def address():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def tell(address, path, body=b""):
    """Give moto itself an order."""
    request = urllib.request.Request(f"{address}/moto-api/{path}", body, {"Content-Type": "text/plain"})
    urllib.request.urlopen(request).close()


@pytest.fixture(autouse=True)
def _emptied(address):
    tell(address, "reset")
    yield
    tell(address, "reset-auth", b"1000000")


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    """The shared credentials file, and nothing else that AWS's chain could find."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    give(path, *ANY)
    return path


def give(path, key_id, secret):
    path.write_text(f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n")


@pytest.fixture
def manager(address):
    """A client of a person who may do everything."""
    yield from client(address, "secretsmanager")


@pytest.fixture
def iam(address):
    yield from client(address, "iam")


def client(address, service):
    key_id, secret = ANY
    made = boto3.session.Session(key_id, secret, region_name=REGION).client(service, endpoint_url=address)
    yield made
    made.close()


@pytest.fixture
def make(address):
    sources = []

    def make(**values):
        sources.append(AwsSource(AwsSettings(**{"endpoint_url": address, "region": REGION} | values)))
        return sources[-1]

    yield make
    for source in sources:
        source.close()


@pytest.fixture
def source(make):
    return make()


def fetch(source, text):
    return source.fetch(SecretRef.parse(text))


def test_the_whole_of_a_secret_is_had(manager, source):
    manager.create_secret(Name="embedsvc/convex", SecretString="s3cret\n")
    assert fetch(source, "aws:embedsvc/convex") == b"s3cret"


def test_a_field_of_a_json_object_is_had(manager, source):
    manager.create_secret(Name="embedsvc", SecretString=json.dumps({"convex": "s3cret", "other": "0ther"}))
    assert fetch(source, "aws:embedsvc#convex") == b"s3cret"


def test_a_secret_is_found_by_its_arn_too(manager, source):
    arn = manager.create_secret(Name="embedsvc", SecretString=json.dumps({"convex": "s3cret"}))["ARN"]
    assert fetch(source, f"aws:{arn}#convex") == b"s3cret"


def test_a_binary_secret_is_had_as_it_is_and_has_no_fields(manager, source):
    manager.create_secret(Name="binary", SecretBinary=b"\x00\xff\n")
    assert fetch(source, "aws:binary") == b"\x00\xff\n"
    with pytest.raises(SecretError, match="it is binary, and has no fields"):
        fetch(source, "aws:binary#field")


def test_a_secret_that_is_rotated_is_had_as_it_is_now(manager, source):
    manager.create_secret(Name="embedsvc", SecretString="one")
    assert fetch(source, "aws:embedsvc") == b"one"
    manager.put_secret_value(SecretId="embedsvc", SecretString="two")
    assert fetch(source, "aws:embedsvc") == b"two"


async def test_a_rotation_is_noticed_by_what_uses_the_secret(address, manager, becomes):
    manager.create_secret(Name="embedsvc", SecretString="one")
    settings = AwsSettings(endpoint_url=address, region=REGION, refresh_seconds=0.05)
    refs = {"signing.secret": SecretRef.parse("aws:embedsvc")}
    async with open_secrets(refs, aws=settings) as secrets:
        assert secrets["signing.secret"].value == b"one"
        manager.put_secret_value(SecretId="embedsvc", SecretString="two\none\n")
        await becomes(secrets["signing.secret"], b"two\none")


def test_a_secret_that_is_not_there_or_is_deleted_is_told_of(manager, source):
    with pytest.raises(SecretError, match=r"^AWS answers ResourceNotFoundException$"):
        fetch(source, "aws:embedsvc")
    manager.create_secret(Name="embedsvc", SecretString="one")
    manager.delete_secret(SecretId="embedsvc")
    with pytest.raises(SecretError, match=r"^AWS answers InvalidRequestException$"):
        fetch(source, "aws:embedsvc")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"other": "s3cret"}', "it has no field convex"),
        ('{"convex": 12345678}', "its field convex is not a string"),
        ("s3cret", "it is not a JSON object, and has no fields"),
        ('["s3cret"]', "it is not a JSON object, and has no fields"),
    ],
)
def test_a_field_that_is_not_there_is_told_of_without_the_rest(manager, source, text, reason):
    manager.create_secret(Name="embedsvc", SecretString=text)
    with pytest.raises(SecretError, match=f"^{reason}$"):
        fetch(source, "aws:embedsvc#convex")


def test_credentials_that_come_later_or_change_are_taken_with_no_restart(
    address, manager, iam, source, credentials
):
    manager.create_secret(Name="embedsvc", SecretString="s3cret")
    iam.create_user(UserName="embedsvc")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [MAY_READ]})
    iam.put_user_policy(UserName="embedsvc", PolicyName="read", PolicyDocument=policy)
    key = iam.create_access_key(UserName="embedsvc")["AccessKey"]
    tell(address, "reset-auth", b"0")
    # AWS itself says UnrecognizedClientException; moto, in this one answer, only the status.
    with pytest.raises(SecretError, match=r"^AWS answers (UnrecognizedClientException|403)$"):
        fetch(source, "aws:embedsvc")
    give(credentials, key["AccessKeyId"], key["SecretAccessKey"])
    assert fetch(source, "aws:embedsvc") == b"s3cret"


def test_credentials_that_are_not_there_are_told_of(source, credentials):
    credentials.unlink()
    with pytest.raises(SecretError, match="Unable to locate credentials"):
        fetch(source, "aws:embedsvc")


def test_a_region_that_nothing_says_is_told_of(make):
    with pytest.raises(SecretError, match="You must specify a region"):
        fetch(make(region=None), "aws:embedsvc")


def test_a_region_is_taken_from_aws_own_configuration(make, manager, tmp_path):
    (tmp_path / "config").write_text(f"[default]\nregion = {REGION}\n")
    manager.create_secret(Name="embedsvc", SecretString="s3cret")
    assert fetch(make(region=None), "aws:embedsvc") == b"s3cret"


def test_aws_away_is_told_of_with_its_address(make):
    with pytest.raises(SecretError, match=r"Could not connect to the endpoint URL: .http://127\.0\.0\.1:9/"):
        fetch(make(endpoint_url="http://127.0.0.1:9"), "aws:embedsvc")


def test_aws_that_hangs_is_waited_for_no_longer_than_the_settings_say(make):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SecretError, match="Read timeout on endpoint URL"):
            fetch(make(endpoint_url=address, timeout_seconds=0.1), "aws:embedsvc")


def test_an_address_has_no_password():
    with pytest.raises(ValidationError, match="endpoint_url") as refused:
        AwsSettings(endpoint_url="https://me:hunter2@aws")
    assert "hunter2" not in str(refused.value)
