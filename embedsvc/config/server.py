"""How the service is reached, what it takes, and what it says of itself."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from embedsvc.config.base import Port, Positive, Seconds, Section
from embedsvc.types import Truncation


class ServerSettings(Section):
    """`[server]`: the gRPC listener."""

    host: str = "127.0.0.1"
    """Address to listen on for gRPC with mTLS; `0.0.0.0` in a container."""
    port: Port = 50051
    """Port for gRPC with mTLS."""
    health_port: Port | None = None
    """Port for `grpc.health.v1` alone, without TLS: Kubernetes' probes have no certificate. Not set: none."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that answer on the port and share the replicas; more than one on Linux only. One is right
    until its event loop is what limits a GPU: see docs/operations.md."""
    reflection: bool = True
    """Whether `grpcurl list` and `describe` work. They need a client certificate, but no key."""
    max_connection_streams: Positive = 1024
    """Calls under way on one connection, at most."""
    keepalive_seconds: Seconds = 30.0
    """How long a connection may be silent before it is pinged."""
    drain_seconds: Seconds = 30.0
    """How long requests under way may take to finish after SIGTERM; the rest are cancelled."""
    drain_notice_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long the server says NOT_SERVING before it takes no more calls: time for Envoy to notice."""
    stream_window: Positive = 256
    """Inputs of one `EmbedStream` call that are worked on or wait to be read by the caller, at most."""

    @property
    def address(self) -> str:
        """Host and port as gRPC writes them."""
        return self.at(self.port)

    def at(self, port: int) -> str:
        """The host with another port, as gRPC writes them."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


class MetricsSettings(Section):
    """`[metrics]`: the Prometheus endpoint."""

    host: str = "127.0.0.1"
    """Address of `/metrics`."""
    port: Port = 9464
    """Port of `/metrics`."""


class TlsSettings(Section):
    """`[tls]`: certificates in PEM; a file that changes is served from the next handshake on."""

    ca: Path = Path(".run/certs/ca.crt")
    """The CA that clients' certificates must come from."""
    certificate: Path = Path(".run/certs/server.crt")
    """The server's certificate chain."""
    key: Path = Path(".run/certs/server.key")
    """The server's private key."""
    revoked: Path | None = None
    """Revocation lists in PEM: calls with the certificates in them are refused. Read when they change."""


class LimitSettings(Section):
    """`[limits]`: what one request may hold."""

    max_text_chars: Positive = 8192
    """Characters (Unicode code points) of one text, or its token ids."""
    max_inputs: Positive = 2048
    """Inputs of one request."""
    max_request_bytes: Positive = 1_048_576
    """Bytes of one request: of JSON at the edge, of the protobuf message over gRPC."""
    truncation: Truncation = Truncation.END
    """What happens to a text of too many tokens where a request does not say: `none` (an error), `end`
    or `start`."""


class LogSettings(Section):
    """`[log]`: one JSON object a line on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is written."""
