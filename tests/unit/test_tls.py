"""tls: certificates that are checked before they are served, and replaced without a restart."""

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from structlog.testing import capture_logs
from support.pki import write

from embedsvc.config import TlsSettings
from embedsvc.dev import pki
from embedsvc.errors import ConfigurationError
from embedsvc.tls import Certificates


@pytest.fixture
def ca():
    return pki.make_ca()


@pytest.fixture
def folder(tmp_path, ca):
    write(tmp_path, "ca", ca)
    write(tmp_path, "server", pki.make_server(ca))
    write(tmp_path, "client", pki.make_client(ca))
    return tmp_path


@pytest.fixture
def settings(folder):
    return TlsSettings(ca=folder / "ca.crt", certificate=folder / "server.crt", key=folder / "server.key")


@contextmanager
def listening(certificates):
    """The port of a gRPC server that shows these certificates."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port("127.0.0.1:0", certificates.credentials())
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def served(port, folder):
    """The certificate that a client of the CA is shown."""
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.load_cert_chain(folder / "client.crt", folder / "client.key")
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        return ssl.DER_cert_to_PEM_cert(encrypted.getpeercert(binary_form=True)).encode()


def test_a_new_certificate_is_served_at_the_next_handshake(settings, folder, ca):
    with listening(Certificates(settings)) as port:
        assert served(port, folder) == settings.certificate.read_bytes()
        fresh = pki.make_server(ca)
        write(folder, "server", fresh)
        assert served(port, folder) == fresh.certificate_pem


def test_a_broken_replacement_keeps_the_certificate_of_before_and_is_logged(settings, folder):
    before = settings.certificate.read_bytes()
    with listening(Certificates(settings)) as port:
        settings.certificate.write_text("half a certifi")
        with capture_logs() as logs:
            assert served(port, folder) == before
        settings.certificate.unlink()
        assert served(port, folder) == before
    assert [entry["log_level"] for entry in logs] == ["warning"]


def test_a_certificate_without_its_key_yet_waits_for_it(settings, folder, ca):
    before, fresh = settings.certificate.read_bytes(), pki.make_server(ca)
    with listening(Certificates(settings)) as port:
        settings.certificate.write_bytes(fresh.certificate_pem)
        assert served(port, folder) == before
        settings.key.write_bytes(fresh.key_pem)
        assert served(port, folder) == fresh.certificate_pem


@pytest.mark.parametrize("name", ["ca.crt", "server.crt", "server.key"])
@pytest.mark.parametrize("damage", ["missing", "broken", "empty"])
def test_files_that_cannot_be_served_stop_the_start_and_are_named(settings, folder, name, damage):
    path = folder / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_text("-----BEGIN" if damage == "broken" else "")
    with pytest.raises(ConfigurationError, match=rf"tls \(.*{name}"):
        Certificates(settings).credentials()


def test_a_key_of_another_certificate_stops_the_start(settings, folder):
    settings.key.write_bytes((folder / "client.key").read_bytes())
    with pytest.raises(ConfigurationError, match="the key does not belong to the certificate"):
        Certificates(settings).credentials()


def test_an_encrypted_key_stops_the_start(settings, ca):
    form = Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")
    settings.key.write_bytes(ca.key.private_bytes(*form))
    with pytest.raises(ConfigurationError, match="tls"):
        Certificates(settings).credentials()
