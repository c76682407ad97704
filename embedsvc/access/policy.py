"""Finds out whose a certificate is: the identities of the configuration, the first that matches."""

from collections.abc import Sequence

from embedsvc.config import IdentitySettings


def find_identity(identities: Sequence[IdentitySettings], names: Sequence[str]) -> IdentitySettings | None:
    """Return whose a certificate is.

    Args:
        identities: Those that may call.
        names: SPIFFE ids and DNS names of the certificate's SAN.
    """
    for identity in identities:
        if any(_matches(pattern, names) for pattern in identity.match):
            return identity
    return None


def _matches(pattern: str, names: Sequence[str]) -> bool:
    if pattern == "*":
        return True
    if pattern.endswith("*"):
        return any(name.startswith(pattern[:-1]) for name in names)
    return pattern in names
