"""Reads certificates as gRPC and Envoy will."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key


class UnreadableError(Exception):
    """A file that is not there, or is not what it should be; the message says so."""


def read_certificates(path: Path) -> Sequence[x509.Certificate]:
    """Read a chain, or some CAs. Raises UnreadableError."""
    content = _read(path)
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise UnreadableError("it is not a certificate in PEM") from None


def is_key_of(path: Path, certificate: x509.Certificate) -> bool:
    """Whether a file has the private key of a certificate. Raises UnreadableError."""
    content = _read(path)
    try:
        own = load_pem_private_key(content, None).public_key()
    except (ValueError, TypeError):
        raise UnreadableError("it is not a private key in PEM, without a password") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return own.public_bytes(*form) == certificate.public_key().public_bytes(*form)


def days_left(certificate: x509.Certificate) -> int:
    """Whole days until it expires; less than none where it has."""
    return (certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)).days


def names_of(certificate: x509.Certificate) -> Sequence[str]:
    """DNS names, addresses and URIs of its SAN."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return [str(name.value) for name in found]


def may_be_used(certificate: x509.Certificate, usage: x509.ObjectIdentifier) -> bool:
    """Whether its extended key usage allows something, or none is given."""
    try:
        return usage in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether it may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def chains_to(chain: Sequence[x509.Certificate], cas: Sequence[x509.Certificate]) -> bool:
    """Whether the first certificate of a chain is signed by a CA, by way of the others where need be."""
    if any(_signed(chain[0], ca) for ca in cas):
        return True
    return any(
        _signed(chain[0], between) and chains_to([between, *chain[1:at], *chain[at + 1 :]], cas)
        for at, between in enumerate(chain[1:], start=1)
    )


def _signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(error.strerror or type(error).__name__) from None
