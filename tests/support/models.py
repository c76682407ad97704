"""Models whose vectors tell whose they are, and what of: no encoder, no process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np

from embedsvc.engine import fake
from embedsvc.engine.admission import Admission
from embedsvc.engine.files import ModelFiles
from embedsvc.engine.job import Computed
from embedsvc.engine.source import ModelCard
from embedsvc.engine.tokenizer import ModelTokenizer
from embedsvc.errors import ModelNotFoundError
from embedsvc.routing.models import Choice

DIMENSIONS = 8
MAX_TOKENS = 12


def vector_of(name: str, ids, dimensions: int = DIMENSIONS) -> np.ndarray:
    """What a model makes of token ids: numbers that no other model and no other ids have."""
    digest = sha256(repr((name, list(ids))).encode()).digest()
    return np.frombuffer(digest, np.uint32)[:dimensions].astype(np.float32) / 2**31 - 1


class Model:
    """See providers.provider.EmbeddingProvider; it computes when its gate is open.

    Attributes:
        computed: The texts that it was asked for, as token ids, call by call.
        error: What it fails with, if anything.
    """

    def __init__(self, name: str, *, prompts: dict[str, str] | None = None, revision: str = "1") -> None:
        files = ModelFiles(
            folder=Path(),
            revision=revision,
            max_tokens=MAX_TOKENS,
            normalized=True,
            prompts=prompts or {},
            dimensions=DIMENSIONS,
            weights_bytes=0,
        )
        self.card = ModelCard(
            name=name,
            aliases=(),
            primary=False,
            allows_dimensions=True,
            dimensions=None,
            files=files,
            space=f"{name}@{revision}",
        )
        self.tokenizer = ModelTokenizer(fake.tokenizer(), name, MAX_TOKENS)
        self.dimensions = DIMENSIONS
        self.devices = ("here",)
        self.ready = True
        self.computed: list[list[tuple[int, ...]]] = []
        self.error: Exception | None = None
        self.holders = 0
        self.gate = asyncio.Event()
        self.gate.set()

    @contextmanager
    def held(self):
        self.holders += 1
        try:
            yield
        finally:
            self.holders -= 1

    @asynccontextmanager
    async def entered(self, _caller):
        yield self

    async def submit(self, texts, _caller) -> Computed:
        self.computed.append([tuple(text) for text in texts])
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return Computed(np.stack([vector_of(self.card.name, text) for text in texts]), 0.001, 0.002)

    @property
    def texts_computed(self) -> int:
        return sum(map(len, self.computed))

    def expected(self, text: str, *, prompt: str = "", dimensions: int = DIMENSIONS, normalize: bool = True):
        """The vector of a short text, made without any of what is tested."""
        vector = vector_of(self.card.name, fake.tokenizer().encode(prompt + text).ids)
        if normalize:
            vector = vector / np.linalg.norm(vector)
        vector = vector[:dimensions]
        return vector / np.linalg.norm(vector) if normalize else vector


class Catalogue:
    """See routing.models.Models: models by name, and choices that a test makes."""

    def __init__(self, *models: Model, queue_tokens: int = 10_000) -> None:
        self.all = {model.card.name: model for model in models}
        self.choices: dict[str, Choice] = {}
        self.queue = Admission(queue_tokens)
        self.shadow_admission = Admission(queue_tokens)

    def choose(self, name: str, _caller) -> Choice:
        if name in self.choices:
            return self.choices[name]
        try:
            return Choice(self.all[name])
        except KeyError:
            raise ModelNotFoundError("no such model", param="model") from None

    def is_here(self, _name: str) -> bool:
        return True

    def admission(self, _model: Model) -> Admission:
        return self.queue


async def until(ready) -> None:
    """Let others have their turns of the event loop until something is so."""
    async with asyncio.timeout(10):
        while not ready():  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0)
