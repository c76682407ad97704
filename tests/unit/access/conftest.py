"""Certificates, a revocation list, and a gate that knows them."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from house import ADDRESS, open_house

from embedsvc.dev import pki
from embedsvc.errors import UnauthenticatedError
from embedsvc.keys import ring


@pytest.fixture(scope="session")
def ca():
    return pki.make_ca()


@pytest.fixture(scope="session")
def certificate(ca):
    """Makes certificates, each with a SPIFFE id of its name; the same one each time."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = pki.make_client(ca, name).certificate_pem
        return made[name]

    return make


@pytest.fixture(scope="session")
def crl():
    """Writes a CA's revocation list."""

    def write(ca, *certificates):
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(ca.certificate.subject)
            .last_update(now)
            .next_update(now + dt.timedelta(days=1))
        )
        for pem in certificates:
            serial = x509.load_pem_x509_certificate(pem).serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(ca.key, hashes.SHA256()).public_bytes(pki.Encoding.PEM)

    return write


@pytest.fixture
async def house(tmp_path, ca, crl):
    async with open_house(tmp_path / "x.db", crl(ca)) as opened:
        yield opened


@pytest.fixture
def refused(house):
    """Sees that a call is not let in, and that this is written down once; returns the prefix of its key."""

    async def refuse(call, reason, error=UnauthenticatedError, address=ADDRESS):
        with pytest.raises(error) as caught:
            await house.gate.enter(call)
        assert type(caught.value) is error
        ((prefix, written, whence),) = house.failures
        assert (written, whence) == (reason, address)
        return prefix

    return refuse


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let a first look-up take its time: on a busy machine, the store is slow for no reason of its own."""
    monkeypatch.setattr(ring, "FIRST_SECONDS", 20.0)
