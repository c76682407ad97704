"""Renders envoy.yaml and the files that it names."""

import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from string import Template

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from embedsvc.config import EdgeSettings, Rate, Settings, reachable
from embedsvc.errors import ConfigurationError
from embedsvc.v1 import openai_pb2
from rest_shim import secrets
from rest_shim.service import JSON_GROWTH

SCRIPTS = ("openai.lua", "access_log.lua")


def render(settings: Settings, folder: Path) -> Path:
    """Write Envoy's configuration into a folder, and return its path.

    Raises:
        ConfigurationError: The template is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCRIPTS:
        with as_file(files("rest_shim") / "envoy" / name) as script:
            shutil.copyfile(script, folder / name)
    for name, secret in secrets.all_of(settings.edge).items():
        (folder / f"{name}.yaml").write_text(json.dumps(secret, indent=1))
    (folder / "descriptor.pb").write_bytes(_descriptors().SerializeToString())
    try:
        template = Template(settings.edge.template.read_text())
    except OSError as error:
        raise ConfigurationError(f"edge.template: {error}") from None
    path = folder / "envoy.yaml"
    path.write_text(template.substitute(_values(settings, folder)))
    return path


def _values(settings: Settings, folder: Path) -> dict[str, object]:
    edge = settings.edge
    return {
        "HOST": edge.host,
        "HTTP_PORT": edge.port,
        "TLS_PORT": edge.tls_port,
        "GRPC_PORT": edge.grpc_port,
        "STATS_PORT": edge.stats_port,
        "ADMIN_HOST": edge.admin_host,
        "ADMIN_PORT": edge.admin_port,
        "PUBLIC_PORT": edge.public_port or edge.tls_port,
        "TRUSTED_HOPS": edge.trusted_hops,
        "REDIRECTED_PERCENT": 100 if edge.profile == "production" else 0,
        "ORIGINS": json.dumps(_origins(edge)),
        "UPSTREAMS": json.dumps(_endpoints(settings)),
        **{f"{of.upper()}_BUCKET": json.dumps(_bucket(edge.rate(of))) for of in ("address", "key", "uri")},
        "EDGE_DIR": folder.absolute(),
        "CONNECTION_STREAMS": settings.server.max_connection_streams,
        "MAX_REQUEST_BYTES": settings.limits.max_request_bytes,
        "BUFFER_BYTES": JSON_GROWTH * settings.limits.max_request_bytes,
    }


def _origins(edge: EdgeSettings) -> list[dict[str, object]]:
    chosen = edge.origins or (("*",) if edge.profile == "development" else ())
    return [{"safe_regex": {"regex": ".*"}} if origin == "*" else {"exact": origin} for origin in chosen]


def _endpoints(settings: Settings) -> list[dict[str, object]]:
    chosen = settings.edge.upstreams or (f"{reachable(settings.server.host)}:{settings.server.port}",)
    addresses = (name.rpartition(":") for name in chosen)
    return [
        {"endpoint": {"address": {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}}}
        for host, _, port in addresses
    ]


def _bucket(rate: Rate) -> dict[str, object]:
    """As `envoy.type.v3.TokenBucket`; Envoy fills it all the time, not once a second."""
    return {"max_tokens": rate.burst, "tokens_per_fill": rate.per_second, "fill_interval": "1s"}


def _descriptors() -> FileDescriptorSet:
    """openai.proto and all that it imports, dependencies first."""
    found: dict[str, FileDescriptor] = {}

    def visit(file: FileDescriptor) -> None:
        for dependency in file.dependencies:
            visit(dependency)
        found.setdefault(file.name, file)

    visit(openai_pb2.DESCRIPTOR)
    descriptors = FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(descriptors.file.add())
    return descriptors
