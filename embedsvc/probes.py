"""Health without TLS, on a port of its own: kubelet's probes cannot show the certificate that ours wants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc

from embedsvc.config import ServerSettings
from embedsvc.errors import ConfigurationError
from embedsvc.health import HealthReporter

log = structlog.get_logger()


@asynccontextmanager
async def answer_probes(settings: ServerSettings, health: HealthReporter) -> AsyncIterator[None]:
    """Serve grpc.health.v1, and nothing else, while the context is open; only where `health_port` is set.

    Raises:
        ConfigurationError: The port is taken.
    """
    if settings.health_port is None:
        yield
        return
    # Each of several processes speaks for itself: whoever the kernel gives a probe to answers it.
    server = grpc.aio.server(options=[("grpc.so_reuseport", int(settings.processes > 1))])
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    _bind(server, settings.at(settings.health_port))
    await server.start()
    log.info("answering probes", host=settings.host, port=settings.health_port)
    try:
        yield
    finally:
        await server.stop(None)


def _bind(server: grpc.aio.Server, address: str) -> None:
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise ConfigurationError(f"server.health_port: cannot listen on {address}: {error}") from None
