"""One shared limit as one server sees it: pure, on a clock that is passed in.

A limit is so many units (requests or tokens) of a window over all servers. The store keeps the window; a
server leases blocks out of it ahead of need, and spends them without asking. While a lease is on its way a
block may be owed, which the lease pays; so servers together exceed a limit by one block each, at most.
While the store is away a server goes by what it alone has spent.
"""

import math
from dataclasses import dataclass

from embedsvc.store.records import Grant, Want

SHARED = "selfHostedEmbeddings"
"""The limit of all callers together, which other services of a Convex deployment share."""

BLOCKS = 10
"""Blocks that a window is leased in."""

NEVER = -math.inf

SOON_SECONDS = 1.0
"""When to come back where there is enough in the store, and a lease is on its way."""

LATE_SECONDS = 0.25
"""A lease that takes longer, counted from when it was wanted, counts as one from a store that is away."""


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

    The window is one of three: unknown (it begins with what is spent next), known from the store, or the
    server's own, while the store is away.

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
        self._missed = 0  # what the last that could not be had would have taken
        self._elsewhere = limit.units  # left in the store, as it last said
        self._ends = NEVER  # of the window; unknown where it is NEVER
        self._wanted: float | None = None  # since when a lease is waited for
        self._away = False

    def may_take(self, units: int, now: float) -> bool:
        """Whether so many units may be spent; to be asked before they are."""
        self._turn(now)
        if units <= self._balance:
            return True
        if self._is_away(now):
            return self._spent + units <= self.limit.units
        owed = self._debt + units - self._balance
        if owed <= self.limit.block and self._elsewhere:
            return True
        self._missed = max(self._missed, units)
        return False

    def may_come(self, units: int, now: float) -> bool:
        """Whether units that may not be spent now may be, once the lease comes that is on its way."""
        on_its_way = self._wanted is not None and not self._is_away(now)
        return on_its_way and units <= self._elsewhere + self._balance

    def take(self, units: int, now: float) -> bool:
        """Spend what may be spent; return whether the store had no say in it, because it is away."""
        paid = min(units, self._balance)
        self._balance -= paid
        self._debt += units - paid
        self._spent += units
        return paid < units and self._is_away(now)

    def needs_lease(self, now: float) -> bool:
        """Whether to ask the store: there is little left, more may be had, and nothing is on its way."""
        self._turn(now)
        enough = self._balance > self.limit.block // 2 and not self._debt and not self._missed
        used_up = self.known and self._elsewhere == 0 and not self._away
        return self._wanted is None and not enough and not used_up

    def want(self, now: float) -> Want:
        """What to ask the store for."""
        self._turn(now)
        units = max(self.limit.block, self._missed) - self._balance + self._debt
        return Want(self.limit.name, max(0, units), self.limit.units, self.limit.period)

    def wanted(self, now: float) -> None:
        """Note that a lease is waited for from now on."""
        self._wanted = now

    def granted(self, grant: Grant, now: float) -> None:
        """Take in a lease."""
        self._wanted, self._away, self.known, self._missed = None, False, True, 0
        ends = now + grant.resets_in
        if NEVER < self._ends < ends - self.limit.period / 2:  # the next window has begun meanwhile
            self._balance = self._debt = self._spent = 0
        self._ends = ends
        paid = min(self._debt, grant.units)
        self._debt -= paid
        self._balance += grant.units - paid
        self._elsewhere = grant.remaining

    def failed(self, now: float) -> None:
        """Note that the store did not answer."""
        self._wanted, self._away, self.known, self._missed = None, True, True, 0
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

    def _is_away(self, now: float) -> bool:
        return self._away or (self._wanted is not None and now - self._wanted > LATE_SECONDS)

    def _turn(self, now: float) -> None:
        """Begin another window once this one is over."""
        if NEVER < self._ends <= now:
            self._balance = self._debt = self._spent = 0
            self._elsewhere = self.limit.units
            self._ends = now + self.limit.period if self._away else NEVER  # the store knows when it began
