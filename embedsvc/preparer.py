"""Checks and tokenizes the inputs of requests, off the event loop: those of many small ones at once."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embedsvc import validate
from embedsvc.config import LimitSettings
from embedsvc.engine import openai_tokens
from embedsvc.engine.catalog import OPENAI_NAMES
from embedsvc.engine.offload import Offload, Threads
from embedsvc.engine.served import ServedModel
from embedsvc.engine.tokenizer import Asked, Tokenized
from embedsvc.errors import EmbedsvcError, InvalidRequestError
from embedsvc.types import EmbedRequest, TextOrIds, Truncation

PART = 16_384
"""Characters that a request is tokenized by: some milliseconds of a thread."""

PARTS_AT_ONCE = 4
"""Parts of one request that may be under way, so that those of others come in between."""

Prepared = Sequence[Tokenized | EmbedsvcError]
"""Of each input its tokens, or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Some inputs of a request."""

    request: EmbedRequest
    model: ServedModel
    first: int
    inputs: Sequence[TextOrIds]

    @property
    def cost(self) -> int:
        """Characters."""
        return sum(map(len, self.inputs))

    def name_of(self, at: int) -> str:
        """What the caller calls one of them."""
        return self.request.name_of(self.first + at)


class Preparer:
    """Checks and tokenizes.

    Args:
        threads: Where.
        limits: What inputs may be.
    """

    def __init__(self, threads: Threads, limits: LimitSettings) -> None:
        self._limits = limits
        self._offload = Offload(threads, self._work)

    async def prepare(self, request: EmbedRequest, model: ServedModel) -> Prepared:
        """Check and tokenize all inputs of a request, of a large one some at a time."""
        parts = [_Part(request, model, at.start, request.inputs[at]) for at in _cut(request.inputs)]
        if len(parts) == 1:
            return await self._offload.run(parts[0], parts[0].cost)
        room = asyncio.Semaphore(PARTS_AT_ONCE)

        async def run(part: _Part) -> Prepared:
            async with room:
                return await self._offload.run(part, part.cost)

        return [item for prepared in await asyncio.gather(*map(run, parts)) for item in prepared]

    def _work(self, parts: Sequence[_Part]) -> Sequence[Prepared]:
        """Blocking."""
        asked = [self._ask(part) for part in parts]
        prepared: dict[int, Prepared] = {}
        for tokenizer in {part.model.tokenizer for part in parts}:
            own = [at for at, part in enumerate(parts) if part.model.tokenizer is tokenizer]
            prepared.update(zip(own, tokenizer.encode([asked[at] for at in own]), strict=True))
        return [prepared[at] for at in range(len(parts))]

    def _ask(self, part: _Part) -> Asked:
        request = part.request
        return Asked(
            [self._check(part, at, item) for at, item in enumerate(part.inputs)],
            part.name_of,
            part.model.card.files.prompts.get(request.input_type, ""),
            request.truncation or Truncation(self._limits.truncation),
        )

    def _check(self, part: _Part, at: int, item: TextOrIds) -> TextOrIds | EmbedsvcError:
        fault = validate.find_fault(item, self._limits)
        if fault is None and not isinstance(item, str) and part.request.model in OPENAI_NAMES:
            try:
                item = openai_tokens.decode(item, part.name_of(at))
            except EmbedsvcError as error:
                return error
            fault = validate.find_fault(item, self._limits)
        if fault is None:
            return item
        name = part.name_of(at)
        return InvalidRequestError(f"{name} {fault}", param=name)


def _cut(inputs: Sequence[TextOrIds]) -> Iterator[slice]:
    """Cut inputs, of which there are some, into parts."""
    start = size = 0
    for at, item in enumerate(inputs):
        if at > start and size + len(item) > PART:
            yield slice(start, at)
            start, size = at, 0
        size += len(item)
    yield slice(start, len(inputs))
