"""Reads the certificate that a client has shown: TLS has verified it, when the connection was made."""

from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509


@dataclass(frozen=True, slots=True)
class Peer:
    """What a certificate says.

    Attributes:
        names: The SPIFFE ids (URIs) and DNS names of its SAN.
        issuer: Whose it is, as DER of the name.
        serial: Its number among those of its issuer.
        ends: When it expires, in seconds since the epoch.
    """

    names: tuple[str, ...]
    issuer: bytes
    serial: int
    ends: float


@lru_cache(maxsize=4096)
def read_peer(pem: bytes) -> Peer:
    """Read a certificate in PEM; the same one once.

    Raises:
        ValueError: It is none, or its names cannot be read.
    """
    certificate = x509.load_pem_x509_certificate(pem)
    return Peer(
        names=_names(certificate),
        issuer=certificate.issuer.public_bytes(),
        serial=certificate.serial_number,
        ends=certificate.not_valid_after_utc.timestamp(),
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from None
    uris = found.get_values_for_type(x509.UniformResourceIdentifier)
    return (*uris, *found.get_values_for_type(x509.DNSName))
