"""access.peer: what is read of a certificate that TLS has verified."""

import ipaddress
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID

from embedsvc.access.peer import read_peer
from embedsvc.dev import pki

DAY = 86_400


def make(ca, san=None):
    """A certificate with a SAN, or without one, in PEM."""
    builder = pki._builder("search", ca.key, 1).issuer_name(ca.certificate.subject)
    if san:
        builder = builder.add_extension(san, critical=False)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(pki.Encoding.PEM)


def test_its_names_are_the_uris_and_dns_names_of_its_san_and_nothing_else(ca):
    names = [
        x509.DNSName("search.internal"),
        x509.RFC822Name("search@internal"),
        x509.UniformResourceIdentifier("spiffe://internal/search"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        x509.DNSName("find.internal"),
    ]
    peer = read_peer(make(ca, x509.SubjectAlternativeName(names)))
    assert peer.names == ("spiffe://internal/search", "search.internal", "find.internal")


def test_a_common_name_is_no_name(ca):
    assert read_peer(make(ca)).names == ()


def test_it_is_told_from_others_by_its_issuer_and_its_serial_number(ca):
    made = pki.make_client(ca)
    peer = read_peer(made.certificate_pem)
    assert peer.issuer == ca.certificate.subject.public_bytes()
    assert peer.serial == made.certificate.serial_number


def test_it_ends_when_it_says(ca):
    assert abs(read_peer(make(ca)).ends - time.time() - DAY) < 60


def test_the_same_one_is_read_once(ca):
    pem = make(ca)
    assert read_peer(pem) is read_peer(bytes(bytearray(pem)))


@pytest.mark.parametrize("pem", [b"", b"junk", pki.make_ca().key_pem])
def test_what_is_no_certificate_is_told_by_a_value_error(pem):
    with pytest.raises(ValueError, match=r"PEM|certificate"):
        read_peer(pem)


@pytest.mark.parametrize("content", ["3004a3023000", "30ff"], ids=["a name of a kind without support", "cut"])
def test_names_that_cannot_be_read_are_told_by_a_value_error(ca, content):
    san = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex(content))
    with pytest.raises(ValueError, match=r"x400Address|asn1"):
        read_peer(make(ca, san))
