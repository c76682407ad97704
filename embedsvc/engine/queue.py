"""The batching policy: which waiting texts go into the next batch. Pure and synchronous.

Callers take turns by deficit round robin (Shreedhar and Varghese, 1995), counted in tokens: a caller
of one short text waits for one turn of every other caller, however much the others have queued; and the
requests of one caller take turns within its own. From what the turns yield, a window is kept sorted by
length; each batch holds the text that has been in the window for longest and its neighbours in length, cut
by the tokens that the encoder will really spend.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What the queue needs to know of an entry."""

    @property
    def length(self) -> int:
        """Tokens."""

    @property
    def caller(self) -> str:
        """Whom fairness counts it for."""

    @property
    def dead(self) -> bool:
        """Nobody waits for it any more: it takes no place in a batch."""


Entry = TypeVar("Entry", bound=Waiting)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a batch may be.

    Attributes:
        tokens: What the encoder may spend. A single text of more is a batch of its own.
        texts: How many texts it may hold.
        padded: Whether the encoder spends the longest text's length on every text.
    """

    tokens: int
    texts: int
    padded: bool = True

    def admits(self, count: int, total: int, longest: int) -> bool:
        """Whether `count` texts of `total` tokens, the longest of `longest`, are a batch."""
        spent = count * longest if self.padded else total
        return count == 1 or (count <= self.texts and spent <= self.tokens)

    def charge(self, length: int) -> int:
        """What a turn pays for a text: its tokens, and no less than its place among the texts."""
        return max(length, -(-self.tokens // self.texts))


WINDOW_BATCHES = 2
"""The window holds about this many batches: enough to find texts of like length, few enough to stay fair."""


@dataclass(slots=True)
class _Turns(Generic[Entry]):
    """One caller's requests, which take turns too, and the tokens that it may still take in its own."""

    requests: deque[deque[Entry]] = field(default_factory=deque)
    deficit: int = 0

    @property
    def next(self) -> Entry:
        """The entry whose turn it is."""
        return self.requests[0][0]

    def pop(self) -> Entry:
        """Remove that entry, and give the turn to the next request."""
        entry = self.requests[0].popleft()
        self.requests.rotate(-1)
        if not self.requests[-1]:
            self.requests.pop()
        return entry


class FairQueue(Generic[Entry]):
    """Waiting entries of all callers.

    Attributes:
        tokens: Tokens that wait, those of dead entries counted until they are met.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._turns: dict[str, _Turns[Entry]] = {}
        self._window: list[tuple[int, int, Entry]] = []  # (length, arrival, entry), sorted
        self._arrivals = 0
        self._window_tokens = 0
        self.tokens = 0

    def __bool__(self) -> bool:
        return bool(self._turns or self._window)

    def add(self, entries: Iterable[Entry]) -> None:
        """Queue the entries of one request, beside the others of the same caller."""
        request = deque(entries)
        if request:
            self._turns.setdefault(request[0].caller, _Turns()).requests.append(request)
            self.tokens += sum(entry.length for entry in request)

    def take(self) -> list[Entry]:
        """Remove and return the next batch; empty only where nothing alive waits."""
        self._fill_window()
        if not self._window:
            return []
        low, high = self._cut(min(range(len(self._window)), key=lambda at: self._window[at][1]))
        batch = [entry for _, _, entry in self._window[low:high]]
        del self._window[low:high]
        taken = sum(entry.length for entry in batch)
        self._window_tokens -= taken
        self.tokens -= taken
        return batch

    def drain(self) -> list[Entry]:
        """Remove and return everything."""
        entries = [entry for _, _, entry in self._window]
        for turns in self._turns.values():
            entries.extend(chain.from_iterable(turns.requests))
        self._turns.clear()
        self._window.clear()
        self.tokens = self._window_tokens = 0
        return entries

    def _fill_window(self) -> None:
        self._drop_dead()
        while self._turns and not self._window_is_full():
            caller, turns = next(iter(self._turns.items()))
            charge = self._limits.charge
            if turns.deficit < charge(turns.next.length):
                turns.deficit += max(self._limits.tokens, charge(turns.next.length))
            while turns.requests and charge(turns.next.length) <= turns.deficit:
                if self._window_is_full():
                    return
                self._admit(turns)
            del self._turns[caller]
            if turns.requests:
                self._turns[caller] = turns  # to the end of the round

    def _window_is_full(self) -> bool:
        return (
            self._window_tokens >= WINDOW_BATCHES * self._limits.tokens
            or len(self._window) >= WINDOW_BATCHES * self._limits.texts
        )

    def _admit(self, turns: _Turns[Entry]) -> None:
        entry = turns.pop()
        if entry.dead:
            self.tokens -= entry.length
            return
        turns.deficit -= self._limits.charge(entry.length)
        self._arrivals += 1
        insort(self._window, (entry.length, self._arrivals, entry))
        self._window_tokens += entry.length

    def _drop_dead(self) -> None:
        dead = sum(length for length, _, entry in self._window if entry.dead)
        if dead:
            self._window = [item for item in self._window if not item[2].dead]
            self._window_tokens -= dead
            self.tokens -= dead

    def _cut(self, oldest: int) -> tuple[int, int]:
        """Widen [oldest, oldest + 1) over the nearest lengths while it is a batch."""
        window, admits = self._window, self._limits.admits
        low, high = oldest, oldest + 1
        total = window[oldest][0]
        while True:
            shorter = window[low][0] - window[low - 1][0] if low > 0 else None
            longer = window[high][0] - window[high - 1][0] if high < len(window) else None
            if longer is not None and (shorter is None or longer <= shorter):
                total += window[high][0]
                if not admits(high + 1 - low, total, window[high][0]):
                    return low, high
                high += 1
            elif shorter is not None:
                total += window[low - 1][0]
                if not admits(high - low + 1, total, window[high - 1][0]):
                    return low, high
                low -= 1
            else:
                return low, high
