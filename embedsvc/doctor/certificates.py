"""Certificates: whether they can be used, by those who must take them, and for how long."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from embedsvc.config import Settings
from embedsvc.doctor import edge, pem
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.healthcheck import CERTIFICATE_NAME

SUBJECT = Subject("certificates")
SOON = 30
"""Days, under which a certificate should be replaced."""

RENEW = (
    "`embedsvc init` makes the development ones anew; one of your own is moved into its folder, and taken "
    "from the next handshake on"
)
USAGES = {ExtendedKeyUsageOID.SERVER_AUTH: "server auth", ExtendedKeyUsageOID.CLIENT_AUTH: "client auth"}


@dataclass(frozen=True, slots=True)
class Role:
    """What a certificate is for.

    Attributes:
        setting: The one that names its file.
        certificate: Its file, with the chain.
        key: The file of its private key.
        ca: Who must have signed it; None: somebody whom the world trusts.
        usage: What it must be good for.
        name: The DNS name that those who see it insist on.
    """

    setting: str
    certificate: Path
    key: Path
    ca: Path | None
    usage: x509.ObjectIdentifier
    name: str | None = None


def look(settings: Settings) -> Iterator[Finding]:
    """Look at every certificate of the settings."""
    for path, setting in {settings.edge.ca: "edge.ca", settings.tls.ca: "tls.ca"}.items():
        yield from _look_at_ca(setting, path, settings)
    for role in _roles(settings):
        yield from _look_at(role)
    if not edge.is_here(settings):
        yield SUBJECT.note(
            f"{settings.edge.public_certificate} is not here: what Envoy shows is looked at where it runs"
        )


def _roles(settings: Settings) -> Iterator[Role]:
    tls, chosen = settings.tls, settings.edge
    server, client = USAGES
    yield Role("tls.certificate", tls.certificate, tls.key, chosen.ca, server, CERTIFICATE_NAME)
    yield Role("edge.certificate", chosen.certificate, chosen.key, tls.ca, client)
    if edge.is_here(settings):
        yield Role("edge.public_certificate", chosen.public_certificate, chosen.public_key, None, server)
        yield Role("edge.grpc_certificate", chosen.grpc_certificate, chosen.grpc_key, chosen.ca, server)


def _look_at_ca(setting: str, path: Path, settings: Settings) -> Iterator[Finding]:
    try:
        found = pem.read_certificates(path)
    except pem.UnreadableError as error:
        yield _unreadable(setting, path, error)
        return
    for certificate in found:
        what = f"{setting} {path} ({_common_name(certificate)})"
        problems = list(_dates(what, certificate))
        if not pem.is_ca(certificate):
            advice = f"Put the CA's own certificate into {setting}, not one that it has signed"
            problems.append(SUBJECT.error(f"{what} is not a CA's", advice))
        if settings.edge.profile == "production" and _is_development(certificate):
            advice = "Use a CA whose key is guarded: docs/identities.md. That of this one lies in .run/certs"
            problems.append(SUBJECT.warning(f"{what} is the development CA, in production", advice))
        yield from problems or [SUBJECT.ok(f"{what}: {pem.days_left(certificate)} days left")]


def _look_at(role: Role) -> Iterator[Finding]:
    what = f"{role.setting} {role.certificate}"
    try:
        chain = pem.read_certificates(role.certificate)
    except pem.UnreadableError as error:
        yield _unreadable(role.setting, role.certificate, error)
        return
    problems = [
        *(problem for certificate in chain for problem in _dates(what, certificate)),
        *_key(role, chain[0]),
        *_names(role, chain[0]),
        *_issuer(role, chain),
    ]
    names = ", ".join(pem.names_of(chain[0]))
    yield from problems or [SUBJECT.ok(f"{what}: {names}; {pem.days_left(chain[0])} days left")]


def _dates(what: str, certificate: x509.Certificate) -> Iterator[Finding]:
    now, days = dt.datetime.now(dt.UTC), pem.days_left(certificate)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begins > now:
        advice = "Set this machine's clock (`timedatectl`), or wait"
        yield SUBJECT.error(f"{what} is not valid before {begins:%Y-%m-%d %H:%M} UTC", advice)
    if ends < now:
        yield SUBJECT.error(f"{what} expired on {ends:%Y-%m-%d %H:%M} UTC", f"Renew it: {RENEW}")
    elif days < SOON:
        yield SUBJECT.warning(f"{what} expires in {days} days, on {ends:%Y-%m-%d}", f"Renew it: {RENEW}")


def _key(role: Role, leaf: x509.Certificate) -> Iterator[Finding]:
    setting = role.setting.removesuffix("certificate") + "key"
    try:
        fits = pem.is_key_of(role.key, leaf)
    except pem.UnreadableError as error:
        yield _unreadable(setting, role.key, error)
        return
    if not fits:
        yield SUBJECT.error(
            f"{setting} {role.key} is not the key of {role.setting} {role.certificate}",
            "Bring both from the same place; both files must be replaced together",
        )


def _names(role: Role, leaf: x509.Certificate) -> Iterator[Finding]:
    what, names = f"{role.setting} {role.certificate}", pem.names_of(leaf)
    if not pem.may_be_used(leaf, role.usage):
        usage = USAGES[role.usage]
        yield SUBJECT.error(f"{what} is not for {usage}", f"Have it made with the extended key usage {usage}")
    if not names:
        advice = "Have it made with one: a common name alone counts no more"
        yield SUBJECT.error(f"{what} has no subject alternative name", advice)
    elif role.name and role.name not in names:
        yield SUBJECT.error(
            f"{what} is for {', '.join(names)}, and not for {role.name}, as Envoy insists",
            f"Have it made with the DNS name {role.name} among its subject alternative names",
        )


def _issuer(role: Role, chain: Sequence[x509.Certificate]) -> Iterator[Finding]:
    if role.ca is None:
        return
    try:
        cas = pem.read_certificates(role.ca)
    except pem.UnreadableError:  # which is told of the CA itself
        return
    if not pem.chains_to(chain, cas):
        yield SUBJECT.error(
            f"{role.setting} {role.certificate} does not come from the CA in {role.ca}",
            "Have it signed by that CA, those between in the same file; or put its CA there",
        )


def _unreadable(setting: str, path: Path, error: pem.UnreadableError) -> Finding:
    advice = "`embedsvc init` makes development ones; for your own, set the path: docs/configuration.md"
    return SUBJECT.error(f"{setting} {path}: {error}", advice)


def _common_name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


def _is_development(certificate: x509.Certificate) -> bool:
    return "embedsvc development CA" in _common_name(certificate)
