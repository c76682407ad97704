"""Callers take turns: deficit round robin (Shreedhar and Varghese, 1995), counted in tokens.

A caller of one short text waits for one turn of every other caller, however much the others have queued;
and the requests of one caller take turns within its own.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What queues need to know of an entry."""

    @property
    def length(self) -> int:
        """Tokens."""

    @property
    def caller(self) -> str:
        """Whom fairness counts it for."""

    @property
    def bulk(self) -> bool:
        """Whether nobody waits for it in person."""

    @property
    def deadline(self) -> float | None:
        """When its vector is worthless, by the clock of who takes batches."""

    @property
    def dead(self) -> bool:
        """Nobody waits for it any more: it takes no place in a batch."""


Entry = TypeVar("Entry", bound=Waiting)
Charge = Callable[[int], int]
"""What a text of some tokens costs its caller."""


@dataclass(slots=True)
class _Flow(Generic[Entry]):
    """One caller's requests, and what it may still spend in its turn: less than nothing after a long text."""

    credit: int
    requests: deque[deque[Entry]] = field(default_factory=deque)

    @property
    def next(self) -> Entry:
        return self.requests[0][0]

    def pop(self) -> Entry:
        """Remove the next entry, and give the turn to the next request."""
        entry = self.requests[0].popleft()
        self.requests.rotate(-1)
        if not self.requests[-1]:
            self.requests.pop()
        return entry


class Round(Generic[Entry]):
    """Entries of many callers, in the order of their turns.

    Args:
        turn: What a caller may spend before the next one's turn.
        charge: What it spends on a text.

    Attributes:
        tokens: Tokens that wait, those of dead entries counted until they are met.
    """

    def __init__(self, turn: int, charge: Charge) -> None:
        self.tokens = 0
        self._turn = turn
        self._charge = charge
        self._flows: dict[str, _Flow[Entry]] = {}  # the first one's turn it is

    def add(self, entries: Iterable[Entry]) -> None:
        """Queue the entries of one request, beside the others of the same caller."""
        request = deque(entries)
        if request:
            self._flows.setdefault(request[0].caller, _Flow(self._turn)).requests.append(request)
            self.tokens += sum(entry.length for entry in request)

    @property
    def next(self) -> Entry | None:
        """The entry whose turn it is; None where nothing alive waits."""
        while self._flows:
            caller, flow = next(iter(self._flows.items()))
            while flow.requests and flow.next.dead:
                self.tokens -= flow.pop().length
            if not flow.requests:
                del self._flows[caller]
            elif flow.credit > 0:
                return flow.next
            else:
                flow.credit += self._turn
                self._flows[caller] = self._flows.pop(caller)  # to the end of the round
        return None

    def pop(self) -> Entry:
        """Remove the entry that `next` has just shown."""
        flow = next(iter(self._flows.values()))
        entry = flow.pop()
        flow.credit -= self._charge(entry.length)
        self.tokens -= entry.length
        return entry

    def sweep(self) -> None:
        """Forget the dead."""
        for caller, flow in list(self._flows.items()):
            alive = (deque(entry for entry in request if not entry.dead) for request in flow.requests)
            flow.requests = deque(request for request in alive if request)
            if not flow.requests:
                del self._flows[caller]
        self.tokens = sum(
            entry.length for flow in self._flows.values() for request in flow.requests for entry in request
        )

    def drain(self) -> Iterator[Entry]:
        """Remove and return everything."""
        flows = list(self._flows.values())
        self._flows.clear()
        self.tokens = 0
        return chain.from_iterable(chain.from_iterable(flow.requests) for flow in flows)
