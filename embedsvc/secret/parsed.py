"""What a secret means: parsed anew when it changes."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from embedsvc.errors import ConfigurationError
from embedsvc.secret.keeper import Secret

log = structlog.get_logger()

LARGE_BYTES = 65_536
"""Some hundred keys, or some thousand revoked certificates: a few milliseconds."""

T = TypeVar("T")


class Parsed(Generic[T]):
    """A secret's meaning. A change that does not parse keeps the meaning of before, and is told of once.

    Args:
        setting: What refers to the secret.
        secret: It.
        parse: Reads its bytes; raises ValueError, without any of them in its message.
    """

    def __init__(self, setting: str, secret: Secret, parse: Callable[[bytes], T]) -> None:
        self._setting = setting
        self._secret = secret
        self._parse = parse
        self._seen = secret.value
        try:
            self._value = parse(secret.value)
        except ValueError as error:
            raise ConfigurationError(f"{setting} ({secret.ref}): {error}") from None

    def get(self) -> T:
        """What it means now; of a large one, what it meant until a thread has read the change."""
        if self._secret.value is not self._seen:
            content = self._seen = self._secret.value
            if len(content) <= LARGE_BYTES:
                self._read(content)
            else:
                asyncio.get_running_loop().run_in_executor(None, self._read, content)
        return self._value

    def _read(self, content: bytes) -> None:
        try:
            value = self._parse(content)
            if content is self._seen:  # else there is a later change, which may have been read before
                self._value = value
        except ValueError as error:
            log.warning(
                "a change does not parse; what was before holds", setting=self._setting, error=str(error)
            )
