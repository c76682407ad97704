"""access.gate: a caller learns of one thing at a time: of its certificate, its key, its signature."""

import pytest
from house import knock

from embedsvc.dev import pki
from embedsvc.errors import InvalidCertificateError, PermissionDeniedError
from embedsvc.keys import token

A_MINUTE_AGO = -1 / 1440
"""In days."""


async def test_that_a_certificate_has_expired_comes_before_its_revocation(
    house, refused, ca, crl, monkeypatch
):
    monkeypatch.setattr(pki, "LEAF_DAYS", A_MINUTE_AGO)
    expired = pki.make_client(ca, "envoy").certificate_pem
    house.revoked.replace(crl(ca, expired))
    await refused(knock(expired), "expired_certificate", InvalidCertificateError)


async def test_that_a_certificate_is_revoked_comes_before_whose_it_is(house, refused, ca, crl, certificate):
    house.revoked.replace(crl(ca, certificate("mallory")))
    await refused(knock(certificate("mallory")), "revoked_certificate", InvalidCertificateError)


async def test_a_key_that_comes_with_a_revoked_certificate_is_not_even_looked_up(
    house, refused, ca, crl, certificate
):
    house.revoked.replace(crl(ca, certificate("envoy")))
    key = await house.add()
    await refused(knock(certificate("envoy"), key), "revoked_certificate", InvalidCertificateError)
    assert house.ring.current(token.digest(key)) is None


async def test_whose_a_certificate_is_comes_before_its_key(refused, certificate):
    call = knock(certificate("mallory"), token.generate())
    await refused(call, "unknown_identity", PermissionDeniedError)


@pytest.mark.parametrize(("key", "reason"), [("emb_short", "malformed_key"), (None, "unknown_key")])
async def test_a_key_comes_before_a_signature(refused, certificate, key, reason):
    part = {"x-embedsvc-signer": "search"}
    await refused(knock(certificate("search"), key or token.generate(), metadata=part), reason)
