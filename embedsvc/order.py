"""A request, and who is to answer it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from embedsvc import quantize, validate
from embedsvc.engine.admission import Admission
from embedsvc.providers.provider import EmbeddingProvider, Worker
from embedsvc.store.records import InjectionPolicy
from embedsvc.types import Caller, EmbedRequest, TextOrIds


@dataclass(frozen=True, slots=True)
class Order:
    """A request, and who is to answer it.

    Attributes:
        request: What is asked.
        caller: By whom.
        model: Who computes it.
        admission: The bound on what waits there.
        openai_ids: Whether token ids are of OpenAI's vocabulary; else they are of the model's own.
    """

    request: EmbedRequest
    caller: Caller
    model: EmbeddingProvider
    admission: Admission
    openai_ids: bool = False

    @property
    def policy(self) -> InjectionPolicy:
        """What is done with texts that look like prompt injection."""
        return self.caller.account.injection

    @property
    def prompt(self) -> str:
        """What goes before each text."""
        return self.model.card.files.prompts.get(self.request.input_type, "")

    @property
    def normalizes(self) -> bool:
        """Whether vectors are scaled to length 1."""
        wanted = self.request.normalize
        return self.model.card.files.normalized if wanted is None else wanted

    def dimensions(self) -> int:
        """How many are kept.

        Raises:
            InvalidRequestError: Out of range, or not allowed for this model; or not to be had in the number
                format that is asked for.
        """
        card, output_type = self.model.card, self.request.output_type
        kept = validate.check_dimensions(
            self.request.dimensions or card.dimensions,
            self.model.dimensions,
            allowed=card.allows_dimensions,
            model=card.name,
        )
        quantize.check(output_type, kept, card.calibration, card.name, normalized=self.normalizes)
        return kept

    def likely_tokens(self, item: TextOrIds) -> int:
        """What an input may cost before it is tokenized: scarcely ever more tokens than characters."""
        return min(len(item) + 2, self.model.tokenizer.max_tokens)


class Stay:
    """What an order holds while it is worked on: the model itself, and room in its queue.

    Args:
        order: Whose.
        stack: What closes it.
    """

    def __init__(self, order: Order, stack: AsyncExitStack) -> None:
        self._order = order
        self._stack = stack
        self._tokens = 0
        self._there = False

    async def begin(self, tokens: int) -> None:
        """Hold the model, so that one that is replaced meanwhile still answers, and take room.

        Args:
            tokens: How much.

        Raises:
            OverloadedError: There is no room.
        """
        self._tokens = tokens
        await self._enter(self._stack)
        self._there = True

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Worker]:
        """Take over all of it, and compute: a task that may outlive the request has it until it leaves.

        Who comes again, since what another computed for it has failed, takes as much anew.

        Raises:
            OverloadedError: There is no room any more.
        """
        there, self._there = self._there, False
        async with self._stack.pop_all() as stack:
            if not there:
                await self._enter(stack)
            async with self._order.model.entered(self._order.caller) as worker:
                yield worker

    async def _enter(self, stack: AsyncExitStack) -> None:
        stack.enter_context(self._order.model.held())
        await stack.enter_async_context(self._order.admission.admit(self._tokens, self._order.caller))
