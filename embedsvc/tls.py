"""mTLS for the gRPC listener, with certificates that can be replaced while it runs."""

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from embedsvc.config import TlsSettings
from embedsvc.errors import ConfigurationError

log = structlog.get_logger()


class Certificates:
    """The three files of `[tls]`, read again when one of them changes."""

    def __init__(self, settings: TlsSettings) -> None:
        self._files = (settings.ca, settings.certificate, settings.key)
        self._stamps: list[int] = []

    def credentials(self) -> grpc.ServerCredentials:
        """Build credentials that refuse a client without a certificate of the CA.

        Raises:
            ConfigurationError: A file is not there, or does not parse, or the key is another one's.
        """
        return grpc.dynamic_ssl_server_credentials(
            self._read(),
            self._changed,  # type: ignore[arg-type]  # gRPC takes None, its stubs do not say so
            require_client_authentication=True,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Called at every handshake, in a thread of gRPC's. None keeps what is served."""
        try:
            stamps = self._read_stamps()
            if stamps == self._stamps:
                return None
            self._stamps = stamps  # files that cannot be used are told of once
            return self._read()
        except (OSError, ConfigurationError) as error:
            log.warning("certificates not replaced; those of before hold", error=str(error))
            return None

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            stamps = self._read_stamps()
            ca, certificate, key = (path.read_bytes() for path in self._files)
            _check(ca, certificate, key)
        except (OSError, ValueError, TypeError) as error:
            names = ", ".join(str(path) for path in self._files)
            raise ConfigurationError(f"tls ({names}): {error}") from None
        self._stamps = stamps
        log.info("certificates loaded", certificate=str(self._files[1]))
        return grpc.ssl_server_certificate_configuration([(key, certificate)], ca)

    def _read_stamps(self) -> list[int]:
        return [path.stat().st_mtime_ns for path in self._files]


def _check(ca: bytes, certificate: bytes, key: bytes) -> None:
    """Raise ValueError where gRPC would only fail later, at a client's handshake."""
    x509.load_pem_x509_certificates(ca)
    leaf = x509.load_pem_x509_certificates(certificate)[0]
    own = load_pem_private_key(key, None).public_key()
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if own.public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise ValueError("the key does not belong to the certificate")
