"""Whether the ports are free, before anything is started."""

from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError
from embedsvc.listeners import find_trouble, of_envoy, of_server


def check(settings: Settings) -> None:
    """Raise ConfigurationError for the first port of ours that is taken."""
    for listener in (*of_server(settings), *of_envoy(settings)):
        if find_trouble(listener) is not None:
            raise ConfigurationError(
                f"{listener.setting}: {listener.host}:{listener.port} is taken by another program; stop "
                f"that, or choose another port with {listener.variable}"
            )
