"""Who must have signed the certificate of a provider."""

import ssl
from pathlib import Path

import certifi

from embedsvc.errors import ConfigurationError


def trusted(name: str, ca: Path | None) -> ssl.SSLContext:
    """Trust a CA; or those that the world trusts, which containers do not always have.

    Args:
        name: The provider's.
        ca: The file of its CA.

    Raises:
        ConfigurationError: The file cannot be read, or has no CA in it.
    """
    try:
        return ssl.create_default_context(cafile=ca or certifi.where())
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"providers.{name}.ca {ca}: {error}") from None
