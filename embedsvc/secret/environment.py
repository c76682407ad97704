"""Secrets are never in the environment: one that is found there stops the start."""

from collections.abc import Iterator, Mapping

from embedsvc.errors import ConfigurationError
from embedsvc.secret.reference import API_KEY, FORMS, SecretRef

OWN = "EMBEDSVC_"
ENDINGS = ("KEY", "SECRET", "TOKEN", "PASSWORD")

FOREIGN = {
    "convex": ("CONVEX_SELF_HOSTED_ADMIN_KEY", "CONVEX_DEPLOY_KEY"),
    "vault": ("VAULT_TOKEN",),
    "aws": ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    "providers": ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"),
}
"""What other programs would take from the environment, by what uses it."""

USES = frozenset(FOREIGN)

INSTEAD = {
    "convex": "put the key into a file and set store.admin_key to file:PATH",
    "vault": "put the token into a file and set vault.token_file to its path",
    "aws": "give the machine or the service account a role, or use AWS's shared credentials file",
    "providers": "put the key into a file and set providers.NAME.key to file:PATH",
}

ADVICE = (
    "Secrets are never read from the environment, which child processes inherit, and which crash reports "
    "and container tools show. Unset it; docs/secrets.md says more"
)


def refuse_secrets(
    environ: Mapping[str, str], uses: frozenset[str], harmless: frozenset[str] = frozenset()
) -> None:
    """Refuse to start where the environment holds a secret.

    Args:
        environ: The environment.
        uses: What the configuration uses, of "convex", "vault", "aws" and "providers".
        harmless: Variables whose names look like a secret's, and that hold none: a path, a number.

    Raises:
        ConfigurationError: There is one; the message names every such variable, and never a value.
    """
    found = "; ".join(
        f"environment variable {name} {reason}"
        for name, value in sorted(environ.items())
        if value
        for reason in _reasons(name, value, uses, harmless)
    )
    if found:
        raise ConfigurationError(f"{found}. {ADVICE}")


def _reasons(name: str, value: str, uses: frozenset[str], harmless: frozenset[str]) -> Iterator[str]:
    if API_KEY.search(value):
        yield "holds one of this service's API keys: callers keep theirs in files, and the server needs none"
    elif _is_our_secret(name.upper()) and name.upper() not in harmless and not _is_reference(value):
        yield f"has a secret's name, and does not say where one is: {FORMS}"
    for use in sorted(uses):
        if name in FOREIGN[use]:
            yield f"holds a secret: {INSTEAD[use]}"


def _is_our_secret(name: str) -> bool:
    return name.startswith(OWN) and name.endswith(ENDINGS)


def _is_reference(value: str) -> bool:
    try:
        SecretRef.parse(value)
    except ValueError:
        return False
    return True
