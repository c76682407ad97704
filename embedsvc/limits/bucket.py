"""One shared limit as one server sees it: pure, on a clock that is passed in.

A limit is so many units (requests or tokens) of a window over all servers. The store keeps the window; a
server leases blocks out of it ahead of need, and spends them without asking. What is spent while a lease is
on its way is owed, and paid by the next one; so servers together exceed a limit by one block each, at most.
While the store is away a server goes by what it alone has spent.
"""

import math
from dataclasses import dataclass

from embedsvc.store.records import Grant, Want

SHARED = "selfHostedEmbeddings"
"""The limit of all callers together, which other services of a Convex deployment share."""

BLOCKS = 10
"""Blocks that a window is leased in."""

CREDIT = 10
"""Units that may be owed of a limit whose blocks are smaller, as long as half of the window is left."""

NEVER = -math.inf

SOON_SECONDS = 1.0
"""When to come back where there is enough in the store, and a lease is on its way."""

LATE_SECONDS = 0.25
"""A lease that takes longer counts as one from a store that is away."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Units of a window of seconds, by name."""

    name: str
    units: int
    period: float

    @property
    def block(self) -> int:
        """Units of one lease."""
        return max(1, math.ceil(self.units / BLOCKS))


class Bucket:
    """What a server knows of a limit, and what it has of it.

    Attributes:
        limit: The limit.
        known: Whether the store has ever answered for it, failed to, or was waited for in vain.
    """

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.known = False
        self._balance = 0  # leased and not spent
        self._debt = 0  # spent and not leased
        self._spent = 0  # of this window, by this server
        self._elsewhere = limit.units  # left in the store, as it last said
        self._ends = NEVER
        self._asked: float | None = None
        self._away = False

    def may_take(self, units: int, now: float) -> bool:
        """Whether so many units may be spent."""
        self._turn(now)
        if units <= self._balance:
            return True
        if self._is_away(now):
            return self._spent + units <= self.limit.units
        owed = self._debt + units - self._balance
        return self._elsewhere > 0 and (owed <= self._credit or self._fits_alone(units))

    def take(self, units: int, now: float) -> bool:
        """Spend what may be spent; return whether the store had no say in it, because it is away."""
        paid = min(units, self._balance)
        self._balance -= paid
        self._debt += units - paid
        self._spent += units
        return paid < units and self._is_away(now)

    def want(self, now: float) -> Want | None:
        """What to ask the store for now; None where nothing is needed, or a lease is on its way."""
        self._turn(now)
        block = self.limit.block
        enough = self._balance > block // 2 and not self._debt
        empty = self._elsewhere == 0 and not self._away
        if self._asked is not None or enough or (self.known and empty):
            return None
        return Want(self.limit.name, block - self._balance + self._debt, self.limit.units, self.limit.period)

    def asked(self, now: float) -> None:
        """Note that a lease is on its way."""
        self._asked = now

    def granted(self, grant: Grant, now: float) -> None:
        """Take in a lease."""
        self._asked, self._away, self.known = None, False, True
        ends = now + grant.resets_in
        if ends > self._ends + self.limit.period / 2:  # the first of a window
            if self._ends != NEVER:
                self._balance = 0
            self._ends = ends
        paid = min(self._debt, grant.units)
        self._debt -= paid
        self._balance += grant.units - paid
        self._elsewhere = grant.remaining

    def failed(self, now: float) -> None:
        """Note that the store did not answer."""
        self._asked, self._away, self.known = None, True, True
        if self._ends == NEVER:
            self._ends = now + self.limit.period

    def remaining(self, now: float) -> int:
        """Units that are left of the window, as far as is known."""
        self._turn(now)
        if self._is_away(now):
            return max(0, self.limit.units - self._spent)
        return max(0, self._elsewhere + self._balance - self._debt)

    def resets_in(self, now: float) -> float:
        """Seconds until the window ends."""
        return max(0.0, self._ends - now) if self._ends > now else self.limit.period

    def retry_in(self, units: int, now: float) -> float | None:
        """Seconds after which so many units may be had; None where they never can."""
        if units > self.limit.units:
            return None
        if units <= self.remaining(now):
            return SOON_SECONDS
        return self.resets_in(now)

    @property
    def _credit(self) -> int:
        """Units that may be owed."""
        return max(self.limit.block, min(CREDIT, self._elsewhere // 2))

    def _fits_alone(self, units: int) -> bool:
        """Whether one large request may be owed: nothing else is, and there was enough for it."""
        return self._debt == 0 and units <= self._elsewhere

    def _is_away(self, now: float) -> bool:
        return self._away or (self._asked is not None and now - self._asked > LATE_SECONDS)

    def _turn(self, now: float) -> None:
        """Begin another window once this one is over."""
        if self._ends <= now and self._ends != NEVER:
            self._balance = self._debt = self._spent = 0
            self._elsewhere = self.limit.units
            self._ends = now + self.limit.period if self._away else NEVER  # the store knows when it began
