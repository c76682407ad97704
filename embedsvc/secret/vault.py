"""Secrets in HashiCorp Vault's KV engine, version 2.

The API: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2 and ../../auth/kubernetes.
"""

from pathlib import Path
from typing import Any

from embedsvc.secret.reference import SecretRef
from embedsvc.secret.settings import VaultSettings
from embedsvc.secret.source import SecretError, load, pick


class VaultSource:
    """One Vault. The server logs in when it first asks, and again when Vault refuses its token."""

    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings
        self._client: Any = None

    def fetch(self, ref: SecretRef) -> bytes:
        """Return a field of the latest version of a secret.

        Raises:
            SecretError: It is not there, or Vault refuses, is sealed or does not answer.
        """
        exceptions = load("hvac.exceptions", "vault")
        try:
            answer = self._read(ref, exceptions.Forbidden)
        except exceptions.InvalidPath as error:
            raise SecretError(_missing(error.json)) from None
        except exceptions.VaultError as error:
            raise SecretError(f"Vault answers {_explain(error)}") from None
        except OSError as error:
            # Not its text, which names the memory address of a connection: another one each time.
            name = type(error).__name__
            raise SecretError(f"Vault at {self._settings.address} is not reached: {name}") from None
        return _field(answer, ref)

    def close(self) -> None:
        """Let the connection go."""
        if self._client:
            self._client.adapter.close()

    def _read(self, ref: SecretRef, refused: type[Exception]) -> object:
        if not self._client:
            self._client = self._connect()
            self._log_in()
        try:
            return self._ask(ref)
        except refused:
            self._log_in()
            return self._ask(ref)

    def _ask(self, ref: SecretRef) -> object:
        mount, path = self._place(ref)
        return self._client.secrets.kv.v2.read_secret_version(
            path, mount_point=mount, raise_on_deleted_version=True
        )

    def _place(self, ref: SecretRef) -> tuple[str, str]:
        mount = self._settings.mount
        if ref.name.startswith(f"{mount}/"):
            return mount, ref.name.removeprefix(f"{mount}/")
        first, _, rest = ref.name.partition("/")
        return first, rest

    def _connect(self) -> Any:  # noqa: ANN401 - hvac has no types
        settings = self._settings
        return load("hvac", "vault").Client(
            url=settings.address,
            token="",  # where there is none, hvac takes one from the environment
            verify=str(settings.ca) if settings.ca else True,
            timeout=settings.timeout_seconds,
            namespace=settings.namespace,
        )

    def _log_in(self) -> None:
        settings = self._settings
        if settings.auth == "token":
            self._client.token = _word("vault.token_file", settings.token_file)
            return
        self._client.token = ""
        answer = self._client.auth.kubernetes.login(
            settings.role,
            _word("vault.service_account_file", settings.service_account_file),
            use_token=False,
            mount_point=settings.login_mount,
        )
        self._client.token = _token(answer)


def _word(setting: str, path: Path) -> str:
    """What a file has in it, which must be a token and no more."""
    try:
        word = path.read_bytes().strip().decode("ascii")
    except OSError as error:
        raise SecretError(f"{setting} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        word = ""
    if not word.isprintable() or not word:
        raise SecretError(f"{setting} {path}: it is not a token")
    return word


def _token(answer: object) -> str:
    match answer:
        case {"auth": {"client_token": str(token)}}:
            return token
    raise SecretError("Vault's answer to a login has no token")


def _field(answer: object, ref: SecretRef) -> bytes:
    match answer:
        case {"data": {"data": dict(fields)}}:
            return pick(fields, ref.field or "")
    raise SecretError("the answer is not one of Vault's KV engine, version 2")


def _missing(answer: object) -> str:
    match answer:
        case {"data": {"metadata": {}}}:
            return "the latest version of the secret is deleted"
    return "Vault has no such secret"


def _explain(error: Any) -> str:  # noqa: ANN401 - hvac has no types
    """What Vault says of itself; not the text of a page that something in between may have sent."""
    return f"{type(error).__name__}: {', '.join(error.errors)}" if error.errors else type(error).__name__
