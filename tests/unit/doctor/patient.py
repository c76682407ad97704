"""A service that is well, until a test makes it ill."""

import datetime as dt
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import State

from embedsvc.config import Settings
from embedsvc.doctor.finding import Finding

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


def days(count: float) -> dt.datetime:
    return NOW + dt.timedelta(days=count)


@dataclass(frozen=True)
class Patient:
    """Settings, and the folder with all that they name."""

    state: State
    settings: Settings

    def having(self, section: str, **values: object) -> "Patient":
        """The same, with other settings of a section."""
        changed = getattr(self.settings, section).model_copy(update=values)
        return replace(self, settings=self.settings.model_copy(update={section: changed}))

    def path(self, name: str):
        return self.state.path(name)

    def resign(self, name: str, begins=None, ends=None, **extensions: x509.ExtensionType) -> None:
        """Have the CA sign a certificate anew, with other dates or extensions, and the same key."""
        old = x509.load_pem_x509_certificate(self.state.read(f"{name}.crt"))
        builder = (
            x509.CertificateBuilder()
            .subject_name(old.subject)
            .issuer_name(old.issuer)
            .public_key(old.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins or days(-400))
            .not_valid_after(ends or days(300))
        )
        for extension in old.extensions:
            value = extensions.get(type(extension.value).__name__, extension.value)
            if value is not None:
                builder = builder.add_extension(value, extension.critical)
        self.put(f"{name}.crt", builder.sign(self.state.ca.key, hashes.SHA256()))

    def put(self, name: str, certificate: x509.Certificate | x509.CertificateRevocationList) -> None:
        self.path(name).write_bytes(certificate.public_bytes(Encoding.PEM))

    def revoke(self, *serials: int, issuer=None, next_update=None) -> bytes:
        """A list of the CA's."""
        ca = issuer or self.state.ca
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(ca.certificate.subject)
            .last_update(days(-40))
            .next_update(next_update or days(10))
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(days(-1))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def examine(self, look) -> list[Finding]:
        return list(look(self.settings))

    async def examine_waiting(self, look) -> list[Finding]:
        return [finding async for finding in look(self.settings)]


def only(findings: list[Finding], level: str) -> Finding:
    """The one finding of a level."""
    (found,) = [finding for finding in findings if finding.level == level]
    return found


def levels(findings: list[Finding]) -> set[str]:
    return {finding.level for finding in findings}
