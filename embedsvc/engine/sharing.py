"""Replicas that several processes use: one process owns them, and each has a door for the others.

A door is a Unix socket in a folder that only its owner can enter. The owner listens at it for as long as the
service lives, and hands the listening socket to one replica's process after the other: whoever comes while
none is ready waits there for the next.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from embedsvc.engine.devices import Devices
from embedsvc.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Sharing:
    """What the processes of one service agree on.

    Attributes:
        folder: Where the doors are.
        devices: What the machine has, asked once.
        owner: Whether this process starts and replaces the replicas; the others are guests.
    """

    folder: Path
    devices: Devices
    owner: bool

    def doors(self, model: str, replicas: int) -> Sequence[Path]:
        """Say where the doors of a model's replicas are."""
        return [self.folder / f"{quote(model, safe='')}.{replica}" for replica in range(replicas)]


@contextmanager
def listen(door: Path) -> Iterator[socket.socket]:
    """Listen at a door, until the context ends.

    Raises:
        ConfigurationError: There can be no socket of this name.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            door.unlink(missing_ok=True)  # of a pool of the same model that still has work
            listener.bind(str(door))
        except OSError as error:
            raise ConfigurationError(f"server.processes: no socket can be made at {door}: {error}") from error
        listener.listen()
        listener.settimeout(0)
        yield listener


def turn_away(listener: socket.socket) -> None:
    """Hang up on everybody who waits at a door: no replica can be started."""
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
