"""Renders envoy.yaml and the files that it names."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from string import Template

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError
from embedsvc.v1 import openai_pb2
from rest_shim.service import JSON_GROWTH


def render(settings: Settings, folder: Path) -> Path:
    """Write Envoy's configuration into a folder, and return its path.

    Raises:
        ConfigurationError: The template is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("rest_shim") / "envoy" / "openai_errors.lua") as script:
        shutil.copy(script, folder)
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
        "REST_HOST": edge.host,
        "REST_PORT": edge.port,
        "ADMIN_HOST": edge.admin_host,
        "ADMIN_PORT": edge.admin_port,
        "UPSTREAM_HOST": edge.upstream_host,
        "UPSTREAM_PORT": edge.upstream_port or settings.server.port,
        "CA": edge.ca.absolute(),
        "CERTIFICATE": edge.certificate.absolute(),
        "KEY": edge.key.absolute(),
        "EDGE_DIR": folder.absolute(),
        "MAX_REQUEST_BYTES": settings.limits.max_request_bytes,
        "BUFFER_BYTES": JSON_GROWTH * settings.limits.max_request_bytes,
    }


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
