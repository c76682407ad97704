"""Whether the store answers, for one purpose: a change is told of once."""

import structlog

log = structlog.get_logger()

FIRST_SECONDS = 0.05
"""How long the very first use of a key and of its limits waits for the store."""


class Presence:
    """Remembers whether the last call went well.

    Args:
        lost: What to say when the store goes away: what that means.
        found: What to say when it is back.

    Attributes:
        away: Whether the last call failed.
    """

    def __init__(self, lost: str, found: str) -> None:
        self.away = False
        self._lost = lost
        self._found = found

    def failed(self, error: Exception) -> None:
        """Note a call that failed."""
        if not self.away:
            log.warning(self._lost, error=repr(error))
        self.away = True

    def answered(self) -> None:
        """Note a call that went well."""
        if self.away:
            log.info(self._found)
        self.away = False
