"""What a secret means: parsed anew when it changes."""

from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from embedsvc.errors import ConfigurationError
from embedsvc.secret.keeper import Secret

log = structlog.get_logger()

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
        """What it means now."""
        if self._secret.value is not self._seen:
            self._seen = self._secret.value
            self._read()
        return self._value

    def _read(self) -> None:
        try:
            self._value = self._parse(self._seen)
        except ValueError as error:
            log.warning(
                "a change does not parse; what was before holds", setting=self._setting, error=str(error)
            )
