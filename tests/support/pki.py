"""Certificates and keys for tests, made by the development PKI itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc

from embedsvc.dev import pki
from embedsvc.keys import token as keys


@dataclass(frozen=True)
class State:
    """A folder of certificates, and one key.

    Files: {ca,server,client,envoy}.{crt,key}, and stranger.{crt,key}: a client of another CA.
    """

    folder: Path
    api_key: str
    ca: pki.Identity

    def path(self, name: str) -> Path:
        return self.folder / name

    def read(self, name: str) -> bytes:
        return self.path(name).read_bytes()

    @property
    def authorization(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.api_key}"),)

    def credentials(self, client: str | None = "client") -> grpc.ChannelCredentials:
        if client is None:
            return grpc.ssl_channel_credentials(self.read("ca.crt"))
        return grpc.ssl_channel_credentials(
            self.read("ca.crt"), self.read(f"{client}.key"), self.read(f"{client}.crt")
        )


def make(folder: Path) -> State:
    ca, other = pki.make_ca(), pki.make_ca("another CA")
    for name, identity in pki.make_all(ca).items():
        write(folder, name, identity)
    write(folder, "stranger", pki.make_client(other, "stranger"))
    key = keys.generate()
    (folder / "api_keys").write_text(f"# tests\n{keys.digest(key)} tester\n")
    return State(folder, key, ca)


def write(folder: Path, name: str, identity: pki.Identity) -> None:
    (folder / f"{name}.crt").write_bytes(identity.certificate_pem)
    (folder / f"{name}.key").write_bytes(identity.key_pem)
