"""A development CA and its certificates: ECDSA on P-256, good for loopback and Compose."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
LEAF_DAYS = 365
SERVER_NAMES = ("localhost", "embedsvc")
"""DNS names of the server's certificate; Envoy insists on the second."""
EDGE_NAMES = (*SERVER_NAMES, "envoy")
"""DNS names of the certificate that Envoy shows: callers over gRPC may go by way of it or directly."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key in PEM (PKCS #8, not encrypted)."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read(certificate: bytes, key: bytes) -> Identity:
    """Read an identity that was made here.

    Raises:
        ValueError: It is not one, or the key is another one's.
    """
    found = x509.load_pem_x509_certificate(certificate), load_pem_private_key(key, None)
    if not isinstance(found[1], ec.EllipticCurvePrivateKey) or found[0].public_key() != found[1].public_key():
        raise ValueError("the key does not belong to the certificate")
    return Identity(found[0], found[1])


def make_ca(name: str = "embedsvc development CA") -> Identity:
    """Make a certificate authority that may sign leaves only."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(name, key, CA_DAYS)
        .issuer_name(_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Identity(builder.sign(key, hashes.SHA256()), key)


def make_server(ca: Identity, dns: Sequence[str] = SERVER_NAMES) -> Identity:
    """Make a server's certificate, for loopback and for some names."""
    loopback = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    names = [*(x509.DNSName(name) for name in dns), *loopback]
    return _sign_leaf(ca, dns[-1], names, ExtendedKeyUsageOID.SERVER_AUTH)


def make_client(ca: Identity, name: str = "dev-client") -> Identity:
    """Make a client's certificate, with a SPIFFE id of its name."""
    names = [x509.UniformResourceIdentifier(f"spiffe://embedsvc.internal/{name}")]
    return _sign_leaf(ca, name, names, ExtendedKeyUsageOID.CLIENT_AUTH)


def make_all(ca: Identity) -> dict[str, Identity]:
    """Make what a service needs, by the names of the files: a CA, a server's, Envoy's two, a client's."""
    return {
        "ca": ca,
        "server": make_server(ca),
        "health": make_client(ca, "health"),
        "envoy": make_client(ca, "envoy"),
        "edge": make_server(ca, EDGE_NAMES),
        "client": make_client(ca),
    }


def _sign_leaf(
    ca: Identity, name: str, names: Sequence[x509.GeneralName], usage: x509.ObjectIdentifier
) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(name, key, LEAF_DAYS)
        .issuer_name(ca.certificate.subject)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False
        )
    )
    return Identity(builder.sign(ca.key, hashes.SHA256()), key)


def _builder(name: str, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))  # clocks differ a little
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
