"""The ports that are the service's own, and whether they can be opened."""

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from embedsvc.config import PREFIX, Settings

SERVER, ENVOY = "the server", "Envoy"


@dataclass(frozen=True, slots=True)
class Listener:
    """A port of ours.

    Attributes:
        setting: The one that names it.
        host: The address.
        port: The number.
        owner: Who is to have it.
    """

    setting: str
    host: str
    port: int
    owner: str

    @property
    def variable(self) -> str:
        """The variable of the environment that sets it."""
        return PREFIX + self.setting.upper().replace(".", "__")

    @property
    def host_setting(self) -> str:
        """The setting of its address."""
        section, _, name = self.setting.partition(".")
        return f"{section}.admin_host" if name == "admin_port" else f"{section}.host"


def of_server(settings: Settings) -> Iterator[Listener]:
    """Those of the server."""
    own, metrics = settings.server, settings.metrics
    yield Listener("server.port", own.host, own.port, SERVER)
    if own.health_port is not None:
        yield Listener("server.health_port", own.host, own.health_port, SERVER)
    yield Listener("metrics.port", metrics.host, metrics.port, SERVER)


def of_envoy(settings: Settings) -> Iterator[Listener]:
    """Those of Envoy."""
    edge = settings.edge
    for name in ("port", "tls_port", "grpc_port", "stats_port"):
        yield Listener(f"edge.{name}", edge.host, getattr(edge, name), ENVOY)
    yield Listener("edge.admin_port", edge.admin_host, edge.admin_port, ENVOY)


def find_trouble(listener: Listener) -> int | None:
    """Open a port and close it again; the number of the error where that fails."""
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listener.host, listener.port))
        except OSError as error:
            return error.errno or errno.EIO
    return None
