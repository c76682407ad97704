"""What the second level does: it keeps bytes by short keys, outlives this process, and may be shared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Measure:
    """How much there is.

    Attributes:
        rows: Vectors that are kept.
        bytes: What they take: a file's size, a server's memory.
        bound: What that may grow to; None: there is no bound.
        oldest: When the first of them expires, in seconds since the epoch; None where that is not known.
        newest: When the last of them does.
    """

    rows: int
    bytes: int
    bound: int | None
    oldest: float | None = None
    newest: float | None = None


def is_cleared(found: str, known: str | None) -> bool:
    """Whether rows of a generation that was known are gone.

    One that is empty says nothing: a level that was never cleared has it, and one that has lost all.
    """
    return known is not None and found not in ("", known)


class Level(Protocol):
    """The second level. Any call may take as long as it likes, and may fail with StoreError.

    That is StoreAwayError where it cannot be reached, and StoreRefusedError where it is there and does not do
    this: it is full, read-only, or busy with another's writing.
    """

    @property
    def name(self) -> str:
        """What it is and where, for people."""

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """What is kept by some short keys, in one look-up; without those by which there is nothing."""

    async def set_many(self, rows: Mapping[str, bytes], seconds: float, generation: str | None = None) -> int:
        """Keep rows in place of those with the same keys, or none of them where it was cleared meanwhile.

        Args:
            rows: Which.
            seconds: For how long.
            generation: The one that they are of; None: they are kept whichever it is.

        Returns:
            How many others had to make room, where it knows.
        """

    async def clear(self) -> int:
        """Forget all rows, and have another generation from now on; return how many they were."""

    async def generation(self) -> str:
        """What `clear` changes; empty where nothing was cleared yet."""

    async def measure(self) -> Measure:
        """How much there is."""

    async def upkeep(self) -> None:
        """Do what is due now and then: let go what has expired."""
