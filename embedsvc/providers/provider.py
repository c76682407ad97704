"""What makes vectors of a model's texts, wherever that is."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from embedsvc.engine.job import Computed
from embedsvc.engine.source import ModelCard
from embedsvc.engine.tokenizer import Asked, Tokenized
from embedsvc.errors import EmbedsvcError
from embedsvc.types import Caller, TokenSequence


class Tokenizer(Protocol):
    """A vocabulary, and its rules of length. Blocking; safe to use from many threads."""

    @property
    def max_tokens(self) -> int:
        """Tokens of one input, at most, prompt and special tokens counted."""

    def encode(self, asked: Sequence[Asked]) -> list[list[Tokenized | EmbedsvcError]]:
        """Tokenize inputs of some requests: for each, for each input its tokens or what is wrong with it."""


class Worker(Protocol):
    """Computes, for as long as one has it."""

    async def submit(self, texts: Sequence[TokenSequence], caller: Caller) -> Computed:
        """Compute the vectors of one request's texts, in their order. Cancelling it drops them.

        Raises:
            ProviderDownError: Nothing computes there now; another side may answer, where that is allowed.
            OverloadedError: It has enough to do.
            DeadlineExceededError: The caller's deadline passed, or would have.
            InternalError: It failed.
        """


class EmbeddingProvider(Protocol):
    """One model, here or elsewhere."""

    @property
    def card(self) -> ModelCard:
        """What is known of it."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Its vocabulary."""

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""

    @property
    def devices(self) -> Sequence[str]:
        """Where it runs: devices of this machine, or the name of the provider elsewhere."""

    @property
    def ready(self) -> bool:
        """Whether it can answer."""

    def held(self) -> AbstractContextManager[None]:
        """While the context is open it can be entered, even if another model takes its name meanwhile.

        It need not be loaded for that: who finds all in a cache has no use for its weights.
        """

    def entered(self, caller: Caller) -> AbstractAsyncContextManager[Worker]:
        """Have it to compute with; what is begun in the context is finished before the model goes away."""
