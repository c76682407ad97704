"""Secrets in AWS Secrets Manager."""

import json
from typing import Any

from embedsvc.secret.reference import SecretRef
from embedsvc.secret.settings import AwsSettings
from embedsvc.secret.source import SecretError, load, pick, trim

ATTEMPTS = 2


class AwsSource:
    """Secrets Manager in one region, with the credentials that AWS's own chain finds: a role or a file."""

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._client: Any = None

    def fetch(self, ref: SecretRef) -> bytes:
        """Return the current version of a secret, or a field of it.

        Raises:
            SecretError: It is not there, or AWS refuses or does not answer.
        """
        exceptions = load("botocore.exceptions", "aws")
        try:
            answer = self._ask(ref)
        except exceptions.ClientError as error:
            self.close()
            # Not the message: of a signature that does not fit it quotes the headers, and a token in them.
            raise SecretError(f"AWS answers {error.response['Error']['Code']}") from None
        except exceptions.BotoCoreError as error:
            self.close()
            raise SecretError(f"AWS is not reached: {error}") from None
        return _value(answer, ref.field)

    def close(self) -> None:
        """Let the connection and the credentials go; a further look takes those that there are then."""
        if self._client:
            self._client.close()
        self._client = None

    def _ask(self, ref: SecretRef) -> dict[str, Any]:
        client = self._client = self._client or self._connect()
        answer: dict[str, Any] = client.get_secret_value(SecretId=ref.name)
        return answer

    def _connect(self) -> Any:  # noqa: ANN401 - boto3 has no types
        settings = self._settings
        config = load("botocore.config", "aws").Config(
            connect_timeout=settings.timeout_seconds,
            read_timeout=settings.timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        # A session of its own: the one that boto3 shares keeps credentials for good.
        session = load("boto3", "aws").session.Session(region_name=settings.region)
        return session.client("secretsmanager", endpoint_url=settings.endpoint_url, config=config)


def _value(answer: dict[str, Any], field: str | None) -> bytes:
    match answer:
        case {"SecretString": str(text)} if field:
            return pick(_fields(text), field)
        case {"SecretString": str(text)}:
            return trim(text.encode())
        case {"SecretBinary": bytes()} if field:
            raise SecretError("it is binary, and has no fields")
        case {"SecretBinary": bytes(value)}:
            return value
    raise SecretError("AWS's answer has no secret")


def _fields(text: str) -> dict[str, object]:
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise SecretError("it is not a JSON object, and has no fields")
    return fields
