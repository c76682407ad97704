"""What no client library sends: bytes on a socket, and frames of HTTP/2."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Self

import h2.connection
import h2.events
from h2.config import H2Configuration
from h2.exceptions import ProtocolError

PATIENCE = 5.0


def answer_to(port: int, sent: bytes, patience: float = PATIENCE) -> tuple[int, bytes]:
    """Send bytes; return the status of the answer, 0 where there is none, and all that came."""
    received = b""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=patience)) as connection:
        try:
            connection.sendall(sent)
            while chunk := connection.recv(65536):
                received += chunk
                if _is_whole(received):
                    break
        except (ConnectionError, TimeoutError):
            pass  # what came until then is the answer
    return (int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1") else 0), received


def _is_whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    length = [
        line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    ]
    return bool(end and length) and len(body) >= int(length[0])


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2: RFC 9113, section 4.1."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


HEADERS, CONTINUATION = 1, 9
END_HEADERS = 4


class Http2:
    """A connection of HTTP/2 whose frames are of our own making."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        config = H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.frames = h2.connection.H2Connection(config)
        self.frames.initiate_connection()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def flush(self) -> bool:
        """Send what is ready; whether the other end still takes it."""
        return self.send(self.frames.data_to_send())

    def send(self, frames: bytes) -> bool:
        """Send bytes; whether the other end still takes them."""
        try:
            self._socket.sendall(frames)
        except (ConnectionError, TimeoutError):
            return False
        return True

    def read(self) -> None:
        """Read until the other end ends the connection or falls silent, whatever it says."""
        try:
            while self._socket.recv(65536):
                pass
        except (ConnectionError, TimeoutError):
            pass

    def drain(self) -> Iterator[h2.events.Event | None]:
        """What the other end sends; None at last, where it ends the connection or falls silent."""
        while True:
            try:
                data = self._socket.recv(65536)
                found = self.frames.receive_data(data) if data else []
            except (ConnectionError, TimeoutError, ProtocolError):
                found = []
            yield from found
            if not found:
                yield None
                return
            self.flush()

    def until(self, kind: type[h2.events.Event]) -> h2.events.Event | None:
        """The first event of a kind; None where there is none."""
        return next((event for event in self.drain() if isinstance(event, kind)), None)
