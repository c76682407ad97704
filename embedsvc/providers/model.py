"""A model of a provider, used as one of this machine is."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedsvc.config import ProviderSettings, RemoteModelSettings
from embedsvc.engine import openai_tokens
from embedsvc.engine.files import ModelFiles
from embedsvc.engine.job import Computed
from embedsvc.engine.source import ModelCard
from embedsvc.errors import DeadlineExceededError
from embedsvc.grouping import by_size
from embedsvc.providers.remote import Ask, RemoteProvider
from embedsvc.providers.tokenizer import Cl100kTokenizer
from embedsvc.types import Caller, TokenSequence

MOST_TEXTS = 2048
MOST_TOKENS = 250_000
"""Of one call: OpenAI takes 2,048 texts and 300,000 tokens."""

REVISION = "remote"
"""Nobody here knows when the weights of others change."""


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model elsewhere; see `provider.EmbeddingProvider`.

    Attributes:
        card: What is known of it.
        tokenizer: OpenAI's, whatever the provider's own is.
        dimensions: The length of its vectors.
        provider: Who has it.
        worker: Calls it.
    """

    card: ModelCard
    tokenizer: Cl100kTokenizer
    dimensions: int
    provider: RemoteProvider
    worker: "RemoteWorker"

    @property
    def devices(self) -> Sequence[str]:
        """The provider's name."""
        return (self.provider.name,)

    @property
    def ready(self) -> bool:
        """Whether the provider is called, or may be tried."""
        return self.provider.state != "open"

    @contextmanager
    def held(self) -> Iterator[None]:
        """See `provider.EmbeddingProvider`: it goes away with the server alone."""
        yield

    @asynccontextmanager
    async def entered(self, _caller: Caller) -> AsyncIterator["RemoteWorker"]:
        """Have it to compute with. It goes away with the server alone, which waits for its calls."""
        yield self.worker


@dataclass(frozen=True, slots=True)
class RemoteWorker:
    """Calls a model of a provider.

    Attributes:
        provider: Who has it.
        model: The provider's own name for it.
        dimensions: The length of its vectors.
    """

    provider: RemoteProvider
    model: str
    dimensions: int

    async def submit(self, texts: Sequence[TokenSequence], caller: Caller) -> Computed:
        """Have the vectors of one request's texts, in their order; of many texts by some calls in a row.

        Args:
            texts: Their ids of cl100k_base; the texts that these stand for are sent.
            caller: Whose deadline bounds all of it. Nothing of it is sent.

        Raises:
            ProviderDownError: The provider fails, or is left alone since it failed before.
            OverloadedError: Too many calls wait for it.
            InvalidRequestError: It does not take these texts.
            DeadlineExceededError: The deadline passed.
        """
        done = Computed(np.empty((len(texts), self.dimensions), dtype=np.float32))
        try:
            async with asyncio.timeout_at(caller.deadline):
                for part in _parts(texts):
                    computed = await self.provider.embed(self._ask(texts[part]), caller)
                    done.vectors[part] = computed.vectors
                    done.queued += computed.queued
                    done.inferred += computed.inferred
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed before the vectors were ready") from None
        return done

    def _ask(self, texts: Sequence[TokenSequence]) -> Ask:
        found = [openai_tokens.decode(ids, "input") for ids in texts]
        return Ask(self.model, self.dimensions, found, sum(map(len, texts)))


def make_model(
    provider: RemoteProvider, name: str, settings: RemoteModelSettings, place: ProviderSettings
) -> RemoteModel:
    """Make a model of a provider.

    Args:
        provider: Who has it.
        name: The provider's own name for it.
        settings: What is known of it.
        place: Where the provider is.
    """
    known = f"{provider.name}/{name}"
    files = ModelFiles(
        folder=Path(),
        revision=REVISION,
        max_tokens=settings.max_tokens,
        normalized=settings.normalized,
        prompts={},
        dimensions=settings.dimensions,
        weights_bytes=0,
    )
    card = ModelCard(
        name=known,
        aliases=(),
        primary=False,
        allows_dimensions=settings.allow_dimensions,
        dimensions=None,
        files=files,
        space=json.dumps(["remote", place.url, name, settings.dimensions, settings.max_tokens]),
    )
    tokenizer = Cl100kTokenizer(known, settings.max_tokens)
    worker = RemoteWorker(provider, name, settings.dimensions)
    return RemoteModel(card, tokenizer, settings.dimensions, provider, worker)


def _parts(texts: Sequence[TokenSequence]) -> Iterator[slice]:
    """Cut texts into those of one call each. Of no texts there is none."""
    for run in by_size(texts, MOST_TOKENS):
        for start in range(run.start, run.stop, MOST_TEXTS):
            yield slice(start, min(start + MOST_TEXTS, run.stop))
