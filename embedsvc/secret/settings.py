"""The settings of places that keep secrets: `[vault]` and `[aws]`."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Address = Annotated[str, Field(pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$")]
"""Of a server, and without a password in it."""

FORM = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)


class VaultSettings(BaseModel):
    """`[vault]`: HashiCorp Vault, for secrets that are written `vault:MOUNT/PATH#FIELD`."""

    model_config = FORM

    address: Address = "https://127.0.0.1:8200"
    """Vault's address."""
    mount: Annotated[str, Field(pattern=r"^[^\s/#]+(/[^\s/#]+)*$")] = "secret"
    """An engine (KV version 2) whose name may have slashes in it: references that begin with it are read
    from it. In all others the first part of the path is the engine."""
    auth: Literal["token", "kubernetes"] = "token"
    """How the server logs in: with a token that is in a file, or with its Kubernetes service account."""
    token_file: Path = Path("/run/secrets/vault_token")
    """With `auth = "token"`: the file of the token, such as a sink of Vault Agent. Read again when
    Vault refuses the token."""
    role: str = ""
    """With `auth = "kubernetes"`: the role to log in as."""
    login_mount: Annotated[str, Field(min_length=1)] = "kubernetes"
    """With `auth = "kubernetes"`: where the method is mounted."""
    service_account_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    """With `auth = "kubernetes"`: the service account's token."""
    namespace: str | None = None
    """The namespace, of Vault Enterprise and HCP."""
    ca: Path | None = None
    """The CA of Vault's certificate. Not set: those that Python's `requests` trusts."""
    timeout_seconds: Seconds = 5.0
    """How long Vault may take to connect, and to answer."""
    refresh_seconds: Seconds = 60.0
    """How often secrets are read again."""

    @model_validator(mode="after")
    def _kubernetes_has_a_role(self) -> Self:
        if self.auth == "kubernetes" and not self.role:
            raise ValueError('auth = "kubernetes" needs role')
        return self


class AwsSettings(BaseModel):
    """`[aws]`: AWS Secrets Manager, for secrets that are written `aws:SECRET_ID#FIELD`."""

    model_config = FORM

    region: str | None = None
    """The region. Not set: what AWS's own configuration says."""
    endpoint_url: Address | None = None
    """Another address of Secrets Manager, such as a VPC endpoint."""
    timeout_seconds: Seconds = 5.0
    """How long AWS may take to connect, and to answer; it is asked twice."""
    refresh_seconds: Seconds = 60.0
    """How often secrets are read again."""
