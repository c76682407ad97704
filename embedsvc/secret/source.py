"""What a place that keeps secrets can do, and what all of them need."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

from embedsvc.secret.reference import SecretRef


class SecretError(Exception):
    """A secret was not had. The message says why, and never has a part of a secret in it."""


class Source(Protocol):
    """A place that keeps secrets. Its calls block, and come from one thread at a time."""

    def fetch(self, ref: SecretRef) -> bytes:
        """Return a secret as it is now.

        Raises:
            SecretError: It is not there, or cannot be read.
        """

    def close(self) -> None:
        """Let connections go. A call may be under way."""


def load(module: str, extra: str) -> Any:  # noqa: ANN401 - these libraries have no types
    """Import what only one kind of place needs.

    Raises:
        SecretError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise SecretError(f"{module} is not installed: pip install 'embedsvc[{extra}]'") from None


def pick(fields: Mapping[str, object], field: str) -> bytes:
    """Return one of a secret's fields.

    Raises:
        SecretError: There is none of that name, or it is not a string.
    """
    match fields.get(field):
        case str(value):
            return trim(value.encode(errors="surrogatepass"))
        case None:
            raise SecretError(f"it has no field {field}")
        case _:
            raise SecretError(f"its field {field} is not a string")


def trim(value: bytes) -> bytes:
    """Take off the newline that editors and `echo` put at the end."""
    return value.removesuffix(b"\r\n" if value.endswith(b"\r\n") else b"\n")
