"""Certificates replaced as kubelet replaces a Secret: a folder is written, and one link goes over to it."""

import shutil
import socket
import ssl
import time
from itertools import count

import pytest
from cryptography import x509
from support.programs import run_edge, run_server

from embedsvc.dev import pki

FILES = {"CA": "ca.crt", "CERTIFICATE": "tls.crt", "KEY": "tls.key"}
TIMEOUT = 30
numbers = count()


def mount(folder, identity, ca):
    """Write a Secret of cert-manager's as a volume, or anew; after Kubernetes' AtomicWriter."""
    folder.mkdir(exist_ok=True)
    new, link = folder / f"..version_{next(numbers)}", folder / "..data"
    new.mkdir()
    files = {"tls.crt": identity.certificate_pem, "tls.key": identity.key_pem, "ca.crt": ca.certificate_pem}
    for name, content in files.items():
        (new / name).write_bytes(content)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    before = link.resolve() if link.exists() else None
    (folder / "..data_tmp").symlink_to(new.name)
    (folder / "..data_tmp").rename(link)
    if before:
        shutil.rmtree(before)


@pytest.fixture(scope="module")
def volumes(state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    mount(folder / "tls", pki.make_server(state.ca), state.ca)
    mount(folder / "public", pki.make_server(state.ca), state.ca)
    return folder


@pytest.fixture(scope="module")
def server(state, volumes, tmp_path_factory):
    tls = {f"TLS__{name}": volumes / "tls" / file for name, file in FILES.items()}
    with run_server(state, tmp_path_factory.mktemp("server"), encoder="fake", **tls) as running:
        yield running


@pytest.fixture(scope="module")
def edge(server, state, volumes, tmp_path_factory):
    public = {f"EDGE__PUBLIC_{name}": volumes / "public" / FILES[name] for name in ("CERTIFICATE", "KEY")}
    with run_edge(server, state, tmp_path_factory.mktemp("edge"), **public) as running:
        yield running


def served(port, state):
    """The serial number of the certificate that a fresh handshake shows."""
    context = ssl.create_default_context(cafile=state.path("ca.crt"))
    context.load_cert_chain(state.path("client.crt"), state.path("client.key"))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as secured,
    ):
        return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True)).serial_number


def until_served(port, state, identity):
    deadline = time.monotonic() + TIMEOUT
    while served(port, state) != identity.certificate.serial_number:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_servers_show_the_new_one(server, state, volumes):
    for _ in range(2):  # the second time, what was first read is gone
        fresh = pki.make_server(state.ca)
        mount(volumes / "tls", fresh, state.ca)
        until_served(server.port, state, fresh)


def test_envoy_shows_the_new_one(edge, state, volumes):
    for _ in range(2):
        fresh = pki.make_server(state.ca)
        mount(volumes / "public", fresh, state.ca)
        until_served(edge.ports["TLS_PORT"], state, fresh)
