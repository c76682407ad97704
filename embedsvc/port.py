"""The port that several processes of one service listen on, and no other service."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from embedsvc.config import ServerSettings
from embedsvc.errors import ConfigurationError


@contextmanager
def hold(settings: ServerSettings) -> Iterator[None]:
    """Keep other services off the port while the context is open; take no connection oneself.

    Our own processes can listen there: with SO_REUSEPORT, which a service asks for only after it has had the
    port to itself.

    Raises:
        ConfigurationError: The port is taken.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as held:
        # Connections of a server that was here a minute ago are no reason to refuse.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigurationError(
                f"server.port: cannot listen on {settings.address}: {error.strerror}"
            ) from error
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield
