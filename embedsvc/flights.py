"""Texts that are being computed, so that all who ask for one at the same time get the same vector.

What Go's golang.org/x/sync/singleflight does for a key, for the texts of a request: those that nobody
computes yet are one flight, and the others are waited for.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from embedsvc.cache.row import Key, Row
from embedsvc.errors import EmbedsvcError, ProviderDownError


@dataclass(frozen=True, slots=True)
class Landed:
    """What came of texts.

    Attributes:
        rows: Their rows, by key.
        queued: Seconds until the first was in a batch.
        inferred: Seconds from there to the end of the last batch.
        joined: Those that another request had asked for before.
    """

    rows: Mapping[Key, Row]
    queued: float = 0.0
    inferred: float = 0.0
    joined: frozenset[Key] = frozenset()

    def beside(self, rows: Mapping[Key, Row]) -> "Landed":
        """The same with further rows, which another request had computed."""
        return replace(self, rows={**self.rows, **rows}, joined=self.joined | rows.keys())


Compute = Callable[[Sequence[Key]], Coroutine[object, object, Landed]]


@dataclass(slots=True, eq=False)
class _Flight:
    """Texts that are computed together, and how many requests wait for any of them."""

    keys: Sequence[Key]
    lane: dict[Key, "_Flight"]
    task: asyncio.Task[Landed] = field(init=False)
    waiting: int = 0

    def start(self, compute: Compute) -> None:
        self.lane.update((key, self) for key in self.keys)
        self.task = asyncio.create_task(compute(self.keys))
        self.task.add_done_callback(self._land)

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Wait for it; when nobody does any more, it ends."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1
            if not self.waiting and not self.task.done():
                self._leave()  # first: nobody must join what is about to end
                self.task.cancel()

    def _land(self, task: asyncio.Task[Landed]) -> None:
        self._leave()
        if not task.cancelled():
            task.exception()  # which whoever waits has been told

    def _leave(self) -> None:
        for key in self.keys:
            if self.lane.get(key) is self:
                del self.lane[key]


class Flights:
    """Computes texts once for all that ask. For one event loop.

    A request that goes away takes nothing from the others: what it began goes on while anybody waits for any
    text of it. Interactive requests do not wait for bulk ones, which may be long in the queue.
    """

    def __init__(self) -> None:
        self._interactive: dict[Key, _Flight] = {}
        self._bulk: dict[Key, _Flight] = {}

    async def land(self, wanted: Sequence[Key], compute: Compute, *, bulk: bool) -> Landed:
        """Have the rows of some keys, all different, computed or waited for.

        Args:
            wanted: Which.
            compute: Computes those that nobody computes yet. What it raises, the caller gets; who only waited
                for it begins anew, since the fault may be the caller's own (a deadline, another text).
            bulk: Whether the request is bulk work.
        """
        rows: dict[Key, Row] = {}
        joined: set[Key] = set()
        queued = inferred = 0.0
        while left := [key for key in wanted if key not in rows]:
            own = self._start([key for key in left if not self._find(key, bulk=bulk)], compute, bulk=bulk)
            flights = dict.fromkeys(flight for key in left if (flight := self._find(key, bulk=bulk)))
            with ExitStack() as stack:
                for flight in flights:
                    stack.enter_context(flight.awaited())
                for flight in flights:
                    landed = await _land(flight, own=flight is own)
                    if landed is None:
                        continue
                    here = [key for key in left if key in landed.rows]
                    rows.update((key, landed.rows[key]) for key in here)
                    queued, inferred = max(queued, landed.queued), max(inferred, landed.inferred)
                    joined.update(here if flight is not own else ())
        return Landed(rows, queued, inferred, frozenset(joined))

    def _start(self, keys: Sequence[Key], compute: Compute, *, bulk: bool) -> _Flight | None:
        if not keys:
            return None
        flight = _Flight(keys, self._bulk if bulk else self._interactive)
        flight.start(compute)
        return flight

    def _find(self, key: Key, *, bulk: bool) -> _Flight | None:
        """Who computes a key; none who has ended, though nobody has noticed yet."""
        lanes = (self._interactive, self._bulk) if bulk else (self._interactive,)
        found = (flight for lane in lanes if (flight := lane.get(key)))
        return next((flight for flight in found if not flight.task.done()), None)


async def _land(flight: _Flight, *, own: bool) -> Landed | None:
    """Wait for a flight; None where another's has failed for a reason that may be its own."""
    try:
        return await asyncio.shield(flight.task)
    except ProviderDownError:
        raise
    except EmbedsvcError:
        if own:
            raise
        return None
