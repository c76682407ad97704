"""Whether the ports are free, before anything is started."""

import socket

from embedsvc.config import PREFIX, Settings
from embedsvc.errors import ConfigurationError


def check(settings: Settings) -> None:
    """Raise ConfigurationError for the first port of ours that is taken."""
    edge = settings.edge
    for section, key, host, port in (
        ("server", "port", settings.server.host, settings.server.port),
        ("metrics", "port", settings.metrics.host, settings.metrics.port),
        ("edge", "port", edge.host, edge.port),
        ("edge", "tls_port", edge.host, edge.tls_port),
        ("edge", "grpc_port", edge.host, edge.grpc_port),
        ("edge", "stats_port", edge.host, edge.stats_port),
        ("edge", "admin_port", edge.admin_host, edge.admin_port),
    ):
        if not _is_free(host, port):
            raise ConfigurationError(
                f"{section}.{key}: {host}:{port} is taken by another program; stop that, or choose "
                f"another port with {PREFIX}{section.upper()}__{key.upper()}"
            )


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
