"""How Envoy is set up: what `make run` and `embedsvc render-edge` fill envoy.yaml with."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from embedsvc.config.base import Port, Section

Upstream = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$")]
Origin = Annotated[str, Field(pattern=r"^(\*|https?://[^\s/*]+)$")]

UNREACHED = 1_000_000
"""Requests a second that no one machine sends: what development has in place of limits."""

Requests = Annotated[int, Field(ge=1, le=UNREACHED)]


class Rate(NamedTuple):
    """How often something may happen.

    Attributes:
        per_second: Requests a second, in the long run.
        burst: Requests at once.
    """

    per_second: int
    burst: int


class EdgeRates(Section):
    """`[edge.rates]`: limits that Envoy keeps before any server is asked. Not set: see the profile."""

    address: Requests | None = None
    """Requests a second of one client address; 10 in production."""
    address_burst: Requests | None = None
    """Requests of one client address at once; 20 in production."""
    key: Requests | None = None
    """Requests a second with one API key; 100 in production."""
    key_burst: Requests | None = None
    """Requests with one API key at once; 50 in production."""
    uri: Requests | None = None
    """Requests a second to one path, of all callers together; 50 in production."""
    uri_burst: Requests | None = None
    """Requests to one path at once; 50 in production."""


PRODUCTION = EdgeRates(address=10, address_burst=20, key=100, key_burst=50, uri=50, uri_burst=50)


class EdgeSettings(Section):
    """`[edge]`: Envoy, as `make run` and `embedsvc render-edge` set it up."""

    profile: Literal["production", "development"] = "production"
    """`production`: HTTP redirects to HTTPS, limits count, and browsers may call from `origins` alone.
    `development`: HTTP serves, nobody meets a limit, and browsers may call from anywhere."""
    template: Path = Path("envoy.yaml")
    """Envoy's configuration, with `${...}` where these settings go."""
    host: str = "127.0.0.1"
    """Address of the listeners; `0.0.0.0` in a container."""
    port: Port = 8080
    """Port for HTTP."""
    tls_port: Port = 8443
    """Port for HTTPS."""
    grpc_port: Port = 50052
    """Port for gRPC with mTLS, where internal services have each call balanced over the servers."""
    stats_port: Port = 9902
    """Port of `/ready` and `/stats/prometheus`, and of nothing else that the admin page has."""
    admin_host: str = "127.0.0.1"
    """Address of Envoy's admin page, which has no authentication: keep it on loopback."""
    admin_port: Port = 9901
    """Port of Envoy's admin page."""
    upstreams: tuple[Upstream, ...] = ()
    """The gRPC servers, as `name:port`; every address of a name is one. None: the server of this machine."""
    ca: Path = Path(".run/certs/ca.crt")
    """The CA of the servers' certificates, and of those that callers of the gRPC listener show."""
    certificate: Path = Path(".run/certs/envoy.crt")
    """The certificate that Envoy shows to the servers."""
    key: Path = Path(".run/certs/envoy.key")
    """Its private key."""
    public_certificate: Path = Path(".run/certs/edge.crt")
    """The certificate that callers over HTTPS see."""
    public_key: Path = Path(".run/certs/edge.key")
    """Its private key."""
    grpc_certificate: Path = Path(".run/certs/edge.crt")
    """The certificate that callers of the gRPC listener see."""
    grpc_key: Path = Path(".run/certs/edge.key")
    """Its private key."""
    public_port: Port | None = None
    """The port that redirects to HTTPS name, where it is published as another than `tls_port`."""
    trusted_hops: Annotated[int, Field(ge=0, le=16)] = 0
    """Proxies in front of Envoy whose `x-forwarded-for` and `x-forwarded-proto` are believed."""
    origins: tuple[Origin, ...] = ()
    """Origins of pages whose scripts may call, such as `https://app.example.com`; `*`: all."""
    rates: EdgeRates = EdgeRates()
    """Limits by address, key and path: see below."""

    def rate(self, of: Literal["address", "key", "uri"]) -> Rate:
        """The limit of an address, a key or a path."""
        return Rate(self._rated(of), self._rated(f"{of}_burst"))

    def _rated(self, name: str) -> int:
        chosen: int | None = getattr(self.rates, name)
        if chosen is not None:
            return chosen
        default: int = getattr(PRODUCTION, name)
        return default if self.profile == "production" else UNREACHED
