"""Revocation lists: whether they are fresh, whose they are, and whether a certificate of ours is in them."""

import datetime as dt
from collections.abc import Iterator, Sequence

from cryptography import x509

from embedsvc.access.peer import read_peer
from embedsvc.access.revocation import BLOCK, is_revoked, parse
from embedsvc.config import Settings
from embedsvc.doctor import edge, pem
from embedsvc.doctor.finding import Finding, Subject

SUBJECT = Subject("certificates")


def look(settings: Settings) -> Iterator[Finding]:
    """Look at `tls.revoked`. That it cannot be read is told among the secrets, which it is read with."""
    path = settings.tls.revoked
    try:
        content = path.read_bytes() if path else b""
        lists = [x509.load_pem_x509_crl(block) for block in BLOCK.findall(content)]
        cas = pem.read_certificates(settings.tls.ca)
    except (OSError, ValueError, pem.UnreadableError):
        return
    for each in lists:
        yield from _look_at(f"tls.revoked {path} ({each.issuer.rfc4514_string()})", each, cas)
    if lists:
        yield from _own(settings, content)


def _look_at(
    what: str, found: x509.CertificateRevocationList, cas: Sequence[x509.Certificate]
) -> Iterator[Finding]:
    until = found.next_update_utc
    issuers = [ca for ca in cas if ca.subject == found.issuer]
    if not issuers:
        advice = "Put the list of tls.ca's own CA there; this one takes no certificate out that could call"
        yield SUBJECT.warning(f"{what} is not of a CA in tls.ca", advice)
    elif not any(_signed(found, ca) for ca in issuers):
        yield SUBJECT.warning(
            f"{what} is not signed by the CA whose name it has",
            "Fetch it anew from the CA: docs/identities.md",
        )
    elif until is not None and until < dt.datetime.now(dt.UTC):
        advice = "Fetch the CA's new list; until then, what was revoked since still works"
        yield SUBJECT.warning(f"{what} is out of date since {until:%Y-%m-%d %H:%M} UTC", advice)
    else:
        yield SUBJECT.ok(f"{what}: {len(found)} revoked")


def _signed(found: x509.CertificateRevocationList, ca: x509.Certificate) -> bool:
    key = ca.public_key()
    return found.is_signature_valid(key)  # type: ignore[arg-type]  # a CA's key signs


def _own(settings: Settings, content: bytes) -> Iterator[Finding]:
    path = settings.edge.certificate
    try:
        revoked = is_revoked(read_peer(path.read_bytes()), parse(content))
    except (OSError, ValueError):
        return
    if revoked and edge.is_here(settings):
        yield SUBJECT.error(
            f"edge.certificate {path} is revoked by tls.revoked: servers refuse every call through Envoy",
            "Give Envoy a new certificate",
        )
    elif revoked:  # in a server's container, which has not Envoy's but one for its health check
        yield SUBJECT.warning(
            f"edge.certificate {path} is revoked by tls.revoked: only health still answers it",
            "Give the health check a new certificate",
        )
