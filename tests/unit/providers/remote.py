"""Providers of a stand-in, called as the server calls them."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import numpy as np
from prometheus_client import CollectorRegistry
from support.openai_server import StandIn

from embedsvc.config import Settings
from embedsvc.engine.tokenizer import Asked
from embedsvc.metrics.routing import provider_metrics
from embedsvc.providers.model import RemoteModel
from embedsvc.providers.opening import open_providers
from embedsvc.secret.keeper import open_secrets
from embedsvc.trust import parsers
from embedsvc.types import Caller

NAME = "openai/text-embedding-3-small"
MODELS = {"text-embedding-3-small": {"dimensions": 8}}
QUICK = {"timeout_seconds": 5.0, "retries": 0, "failures": 3, "pause_seconds": 0.05}


def caller(seconds: float | None = 30.0, **values: object) -> Caller:
    """A caller whose deadline is so far away."""
    return Caller("somebody", time.monotonic() + seconds if seconds is not None else None, **values)


class Providers:
    """Opens providers, and counts what they do."""

    def __init__(self, standin: StandIn, folder: Path) -> None:
        self.registry = CollectorRegistry()
        self.standin = standin
        self.key_file = folder / "openai_key"
        self.key_file.write_text("sk-of-this-service\n")
        self._metrics = provider_metrics(self.registry)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def open(self, models=MODELS, name: str = "openai", **values: object) -> RemoteModel:
        """Open a provider; return the first of its models."""
        own = {"url": self.standin.url, "key": f"file:{self.key_file}", **QUICK, "models": models, **values}
        settings = Settings(providers={name: own})
        secrets = await self._stack.enter_async_context(
            open_secrets(settings.references, parsers=parsers(settings))
        )
        opened = await self._stack.enter_async_context(open_providers(settings, secrets, self._metrics))
        return next(iter(opened.values()))

    def counted(self, outcome: str, name: str = "openai") -> float:
        """Calls that ended so."""
        labels = {"provider": name, "outcome": outcome}
        return self.registry.get_sample_value("embeddings_provider_calls_total", labels) or 0.0

    def circuit(self, name: str = "openai") -> float | None:
        """What the gauge shows."""
        return self.registry.get_sample_value("embeddings_provider_circuit", {"provider": name})


def tokens_of(model: RemoteModel, texts: list[str], **values: object):
    """What the server's tokenizing threads make of texts."""
    return model.tokenizer.encode([Asked(texts, lambda at: f"input[{at}]", **values)])[0]


async def embed(model: RemoteModel, *texts: str, by: Caller | None = None) -> np.ndarray:
    """Embed texts as the embedder does."""
    ids = [one.ids for one in tokens_of(model, list(texts))]
    by = by or caller()
    async with model.entered(by) as worker:
        return (await worker.submit(ids, by)).vectors
