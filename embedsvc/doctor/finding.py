"""What was found: data, for people and for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "note", "warning", "error"]

LEVELS: Sequence[Level] = ("ok", "note", "warning", "error")
"""The worst comes last. A note is no fault; a warning will be one; an error is one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at.

    Attributes:
        subject: What it belongs to, such as "certificates".
        level: How bad it is.
        seen: What was seen, and what is wrong with it.
        advice: What to do.
    """

    subject: str
    level: Level
    seen: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What findings are about.

    Attributes:
        name: What people call it.
    """

    name: str

    def ok(self, seen: str) -> Finding:
        """All is well."""
        return Finding(self.name, "ok", seen)

    def note(self, seen: str, advice: str = "") -> Finding:
        """Nothing is wrong, but good to know."""
        return Finding(self.name, "note", seen, advice)

    def warning(self, seen: str, advice: str) -> Finding:
        """It works, and will not for ever, or not for everybody."""
        return Finding(self.name, "warning", seen, advice)

    def error(self, seen: str, advice: str) -> Finding:
        """Something does not work."""
        return Finding(self.name, "error", seen, advice)
