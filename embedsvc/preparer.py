"""Checks and tokenizes the inputs of requests, off the event loop: those of many small ones at once."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from embedsvc import validate
from embedsvc.config import LimitSettings
from embedsvc.engine import openai_tokens
from embedsvc.engine.offload import Offload, Threads
from embedsvc.engine.tokenizer import Asked, Tokenized
from embedsvc.errors import EmbedsvcError, InvalidRequestError, SuspiciousTextError
from embedsvc.grouping import by_size
from embedsvc.injection import Detector
from embedsvc.order import Order
from embedsvc.store.records import InjectionPolicy
from embedsvc.types import TextOrIds, Truncation

PART = 16_384
"""Characters that a request is tokenized by: some milliseconds of a thread."""

PARTS_AT_ONCE = 4
"""Parts of one request that may be under way, so that those of others come in between."""

Items = Sequence[Tokenized | EmbedsvcError | None]
"""Of each input its tokens, or what is wrong with it; None where nothing is and its tokens are not needed."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The inputs of a request, ready to be computed.

    Attributes:
        items: Each of them.
        suspects: Those that look like prompt injection, by their place, with the rule that says so.
    """

    items: Items
    suspects: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class _Part:
    """Some inputs of a request."""

    order: Order
    known: Collection[int]
    first: int
    inputs: Sequence[TextOrIds]

    @property
    def cost(self) -> int:
        """Characters."""
        return sum(map(len, self.inputs))

    def name_of(self, at: int) -> str:
        """What the caller calls one of them."""
        return self.order.request.name_of(self.first + at)

    def needs_tokens(self, at: int) -> bool:
        """Whether one of them is to be computed."""
        return self.first + at not in self.known


class Preparer:
    """Checks and tokenizes.

    Args:
        threads: Where.
        limits: What inputs may be.
    """

    def __init__(self, threads: Threads, limits: LimitSettings) -> None:
        self._limits = limits
        self._offload = Offload(threads, self._work)
        self._detector = Detector.load()

    async def prepare(self, order: Order, known: Collection[int] = ()) -> Prepared:
        """Check and tokenize all inputs of a request, of a large one some at a time.

        Args:
            order: The request, and whose tokens.
            known: Places of inputs that are checked and not tokenized, since their vectors are there.
        """
        inputs = order.request.inputs
        parts = [_Part(order, known, at.start, inputs[at]) for at in by_size(inputs, PART)]
        if len(parts) == 1:
            return await self._offload.run(parts[0], parts[0].cost)
        room = asyncio.Semaphore(PARTS_AT_ONCE)

        async def run(part: _Part) -> Prepared:
            async with room:
                return await self._offload.run(part, part.cost)

        return _join(await asyncio.gather(*map(run, parts)))

    def _work(self, parts: Sequence[_Part]) -> Sequence[Prepared]:
        """Blocking."""
        checked = [[self._check(part, at, item) for at, item in enumerate(part.inputs)] for part in parts]
        suspects = [self._suspect(part, items) for part, items in zip(parts, checked, strict=True)]
        asked = [self._ask(part, items) for part, items in zip(parts, checked, strict=True)]
        encoded: dict[int, Sequence[Tokenized | EmbedsvcError]] = {}
        for tokenizer in {part.order.model.tokenizer for part in parts}:
            own = [at for at, part in enumerate(parts) if part.order.model.tokenizer is tokenizer]
            encoded.update(zip(own, tokenizer.encode([asked[at].asked for at in own]), strict=True))
        return [Prepared(asked[at].spread(encoded[at]), suspects[at]) for at in range(len(parts))]

    def _suspect(self, part: _Part, items: list[TextOrIds | EmbedsvcError]) -> Mapping[int, str]:
        """Find texts that look like prompt injection; put errors in their place, where that is the policy."""
        policy = part.order.policy
        if policy is InjectionPolicy.OFF:
            return {}
        texts = {at: item for at, item in enumerate(items) if isinstance(item, str)}
        places = list(texts)
        found = self._detector.find_all(list(texts.values()))
        suspects = {places[at]: rule for at, rule in found.items()}
        if policy is InjectionPolicy.REJECT:
            for at, rule in suspects.items():
                items[at] = _injection(part.name_of(at), rule)
        return suspects

    def _ask(self, part: _Part, items: Sequence[TextOrIds | EmbedsvcError]) -> "_Some":
        request = part.order.request
        places = [
            at for at, item in enumerate(items) if isinstance(item, EmbedsvcError) or part.needs_tokens(at)
        ]
        asked = Asked(
            [items[at] for at in places],
            lambda number: part.name_of(places[number]),
            part.order.prompt,
            request.truncation or Truncation(self._limits.truncation),
        )
        return _Some(asked, places, len(items))

    def _check(self, part: _Part, at: int, item: TextOrIds) -> TextOrIds | EmbedsvcError:
        fault = validate.find_fault(item, self._limits)
        if fault is None and not isinstance(item, str) and part.order.openai_ids:
            try:
                item = openai_tokens.decode(item, part.name_of(at))
            except EmbedsvcError as error:
                return error
            fault = validate.find_fault(item, self._limits)
        if fault is None:
            return item
        name = part.name_of(at)
        return InvalidRequestError(f"{name} {fault}", param=name)


@dataclass(frozen=True, slots=True)
class _Some:
    """Those inputs of a part that the tokenizer is asked about.

    Attributes:
        asked: What it is asked.
        places: Where they are in the part.
        size: Inputs of the part.
    """

    asked: Asked
    places: Sequence[int]
    size: int

    def spread(self, encoded: Sequence[Tokenized | EmbedsvcError]) -> Items:
        """Its answers, in the places of the part's inputs."""
        if len(encoded) == self.size:
            return encoded
        items: list[Tokenized | EmbedsvcError | None] = [None] * self.size
        for at, item in zip(self.places, encoded, strict=True):
            items[at] = item
        return items


def _injection(name: str, rule: str) -> EmbedsvcError:
    return SuspiciousTextError(
        f"{name} looks like prompt injection (rule {rule}). The operator can let such texts pass, marked or "
        "not, with the setting injection.policy, or for a key with `embedsvc keys create --injection`",
        param=name,
    )


def _join(parts: Iterable[Prepared]) -> Prepared:
    items: list[Tokenized | EmbedsvcError | None] = []
    suspects: dict[int, str] = {}
    for part in parts:
        suspects.update((len(items) + at, rule) for at, rule in part.suspects.items())
        items.extend(part.items)
    return Prepared(items, suspects)
