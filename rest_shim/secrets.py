"""Certificates as Envoy reads them: secrets of its discovery service, from files (SDS).

https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret
"""

from pathlib import Path

from embedsvc.config import EdgeSettings

TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

Secret = dict[str, object]


def all_of(edge: EdgeSettings) -> dict[str, Secret]:
    """What Envoy subscribes to, by the names in envoy.yaml: a discovery response each."""
    secrets: dict[str, Secret] = {
        "servers": _certificate(edge.certificate, edge.key),
        "public": _certificate(edge.public_certificate, edge.public_key),
        "grpc": _certificate(edge.grpc_certificate, edge.grpc_key),
        "ca": {"validation_context": {"trusted_ca": _file(edge.ca), **_watched(edge.ca)}},
    }
    return {name: _response({"@type": TYPE, "name": name, **secret}) for name, secret in secrets.items()}


def _response(secret: Secret) -> Secret:
    return {"resources": [secret]}


def _certificate(chain: Path, key: Path) -> Secret:
    return {
        "tls_certificate": {"certificate_chain": _file(chain), "private_key": _file(key), **_watched(key)}
    }


def _file(path: Path) -> Secret:
    return {"filename": str(path.absolute())}


def _watched(path: Path) -> Secret:
    """What moves into this folder makes Envoy read the files again; of a pair, it is the key's."""
    return {"watched_directory": {"path": str(path.absolute().parent)}}
