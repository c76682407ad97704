"""pki: certificates that a strict verifier takes."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from embedsvc.dev import pki

LOOPBACK = ["127.0.0.1", "::1"]


@pytest.fixture(scope="module")
def ca():
    return pki.make_ca()


def policy(ca):
    return PolicyBuilder().store(Store([ca.certificate]))


def verify_server(ca, identity, name):
    return policy(ca).build_server_verifier(x509.DNSName(name)).verify(identity.certificate, [])


@pytest.mark.parametrize("name", ["localhost", "embedsvc"])
def test_a_server_is_trusted_under_its_names(ca, name):
    assert len(verify_server(ca, pki.make_server(ca), name)) == 2


def test_a_server_is_trusted_on_loopback(ca):
    names = (
        pki.make_server(ca).certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    )
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == LOOPBACK


def test_a_server_is_not_trusted_under_another_name(ca):
    with pytest.raises(VerificationError):
        verify_server(ca, pki.make_server(ca), "example.com")


def test_a_client_is_trusted_and_has_a_spiffe_id_of_its_name(ca):
    verified = policy(ca).build_client_verifier().verify(pki.make_client(ca, "billing").certificate, [])
    assert [name.value for name in verified.subjects] == ["spiffe://embedsvc.internal/billing"]


def test_a_client_s_certificate_is_no_server_s(ca):
    with pytest.raises(VerificationError):
        verify_server(ca, pki.make_client(ca), "embedsvc")
    with pytest.raises(VerificationError):
        policy(ca).build_client_verifier().verify(pki.make_server(ca).certificate, [])


def test_a_certificate_of_another_ca_of_the_same_name_is_refused(ca):
    stranger = pki.make_client(pki.make_ca())
    with pytest.raises(VerificationError):
        policy(ca).build_client_verifier().verify(stranger.certificate, [])


def test_a_leaf_signs_nothing(ca):
    false = pki.make_client(pki.make_server(ca))
    verifier = policy(ca).build_client_verifier()
    with pytest.raises(VerificationError):
        verifier.verify(false.certificate, [pki.make_server(ca).certificate])


def test_certificates_are_good_now_and_for_a_year(ca):
    now, certificate = dt.datetime.now(dt.UTC), pki.make_server(ca).certificate
    assert certificate.not_valid_before_utc < now
    assert dt.timedelta(days=364) < certificate.not_valid_after_utc - now <= dt.timedelta(days=365)
    assert ca.certificate.not_valid_after_utc > certificate.not_valid_after_utc


def test_pem_holds_the_certificate_and_its_own_key(ca):
    identity = pki.make_client(ca)
    assert x509.load_pem_x509_certificate(identity.certificate_pem) == identity.certificate
    key = load_pem_private_key(identity.key_pem, None)
    assert isinstance(key.curve, ec.SECP256R1)
    assert key.public_key() == identity.certificate.public_key()
