"""What a development machine keeps in `.run/`: certificates, one API key, Envoy's files."""

import datetime as dt
import time
from pathlib import Path

from cryptography import x509

from embedsvc.config import Settings
from embedsvc.dev import pki
from embedsvc.dev.files import write_private
from embedsvc.keys import token as keys
from embedsvc.operator.opening import opened_store
from embedsvc.store.records import KeyRecord

RUN = Path(".run")
CERTS = RUN / "certs"
EDGE = RUN / "edge"
API_KEY = RUN / "api_key"
API_KEYS = RUN / "api_keys"
RENEW = dt.timedelta(days=30)
"""Certificates are made anew when they have less than this to live."""


def prepare() -> None:
    """Make what is not there yet, and certificates that are about to expire."""
    RUN.mkdir(mode=0o700, exist_ok=True)
    if not _certificates_are_good():
        _make_certificates()
    if not (API_KEY.exists() and API_KEYS.exists()):
        key = keys.generate()
        write_private(API_KEY, f"{key}\n".encode())
        write_private(API_KEYS, f"{keys.digest(key)} development\n".encode())


async def register(settings: Settings) -> None:
    """Have the store know the API key that was made here. Raises ConfigurationError."""
    key = API_KEY.read_text().strip()
    record = KeyRecord(
        digest=keys.digest(key), prefix=keys.prefix(key), name="development", created_at=time.time()
    )
    async with opened_store(settings, make=True) as store:
        if not await store.find_keys([record.digest]):
            await store.create_key(record)


def _make_certificates() -> None:
    CERTS.mkdir(mode=0o700, exist_ok=True)
    ca = _read_ca() or pki.make_ca()
    for name, identity in pki.make_all(ca).items():
        write_private(CERTS / f"{name}.crt", identity.certificate_pem)
        write_private(CERTS / f"{name}.key", identity.key_pem)


def _read_ca() -> pki.Identity | None:
    """The CA of before, so that who trusts it goes on doing so; None where it cannot sign any more."""
    certificate, key = CERTS / "ca.crt", CERTS / "ca.key"
    if not (certificate.exists() and key.exists()):
        return None
    try:
        ca = pki.read(certificate.read_bytes(), key.read_bytes())
    except (ValueError, TypeError):
        return None
    lives = dt.timedelta(days=pki.LEAF_DAYS) + dt.datetime.now(dt.UTC)
    return ca if ca.certificate.not_valid_after_utc > lives else None


def _certificates_are_good() -> bool:
    soon = dt.datetime.now(dt.UTC) + RENEW
    names = ("ca", "server", "health", "envoy", "edge", "client")
    if not all((CERTS / f"{name}.{end}").exists() for name in names for end in ("crt", "key")):
        return False
    pems = [(CERTS / f"{name}.crt").read_bytes() for name in names]
    try:
        return all(x509.load_pem_x509_certificate(pem).not_valid_after_utc > soon for pem in pems)
    except ValueError:  # not a certificate: make a new one
        return False
