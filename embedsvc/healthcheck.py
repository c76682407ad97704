"""`python -m embedsvc.healthcheck`: whether the server beside it answers; for a container's health check.

It asks grpc.health.v1 over mTLS, as Envoy does: `/metrics` answers long before the model is loaded. It shows
`edge.certificate`, which in containers is one for health alone, and elsewhere Envoy's. No subcommand, since
the command line imports the whole server, and this runs often.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from embedsvc.config import Settings, load
from embedsvc.errors import ConfigurationError

SECONDS = 5.0
"""How long the server may take to answer."""

SERVICE = "embedsvc.v1.OpenAIService"
"""The service that Envoy asks after, too."""

CERTIFICATE_NAME = "embedsvc"
"""What the server's certificate must be for, whatever address it is reached at."""


def main() -> None:
    """Leave with status 0 where the server is SERVING, else with 1 and the reason."""
    try:
        reason = find_fault(load())
    except ConfigurationError as error:
        reason = str(error)
    sys.exit(f"embedsvc: {reason}" if reason else 0)


def find_fault(settings: Settings) -> str | None:
    """Say why the server cannot be used; None where it can."""
    try:
        with _connect(settings) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service=SERVICE)
            answer = health.Check(request, timeout=SECONDS)  # type: ignore[attr-defined]  # its stubs leave it out
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    except OSError as error:
        return str(error)
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return None if status == "SERVING" else status


def _connect(settings: Settings) -> grpc.Channel:
    server, edge = settings.server, settings.edge
    credentials = grpc.ssl_channel_credentials(
        edge.ca.read_bytes(), edge.key.read_bytes(), edge.certificate.read_bytes()
    )
    options = [
        ("grpc.ssl_target_name_override", CERTIFICATE_NAME),
        ("grpc.enable_http_proxy", 0),  # the server is here
    ]
    # On Linux, a connection to the address that means "all of mine" reaches this machine.
    return grpc.secure_channel(server.address, credentials, options)


if __name__ == "__main__":
    main()
