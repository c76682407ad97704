"""The ports that several processes of one service listen on, and no other service."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from embedsvc.config import ServerSettings
from embedsvc.errors import ConfigurationError


@contextmanager
def hold(settings: ServerSettings) -> Iterator[None]:
    """Keep other services off the ports while the context is open; take no connection oneself.

    Our own processes can listen there: with SO_REUSEPORT, which a service asks for only after it has had the
    port to itself.

    Raises:
        ConfigurationError: A port is taken.
    """
    with ExitStack() as stack:
        stack.enter_context(_held(settings, "port", settings.port))
        if settings.health_port is not None:
            stack.enter_context(_held(settings, "health_port", settings.health_port))
        yield


def _held(settings: ServerSettings, name: str, port: int) -> socket.socket:
    held = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    # Connections of a server that was here a minute ago are no reason to refuse.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((settings.host, port))
    except OSError as error:
        held.close()
        raise ConfigurationError(
            f"server.{name}: cannot listen on {settings.at(port)}: {error.strerror}"
        ) from error
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return held
