"""Opens the providers of the settings: connections, circuits, and a model for each of theirs."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any

from embedsvc.background import running
from embedsvc.breaker import Breaker, State
from embedsvc.config import ProviderSettings, Settings
from embedsvc.engine import openai_tokens
from embedsvc.metrics.routing import ProviderMetrics
from embedsvc.providers.circuit import LONGEST_PAUSE, PATIENCE, Circuit
from embedsvc.providers.model import RemoteModel, make_model
from embedsvc.providers.remote import RemoteProvider
from embedsvc.providers.tls import trusted
from embedsvc.secret.keeper import Secret

INTERVAL = 1.0
"""Seconds between two looks at circuits."""


@asynccontextmanager
async def open_providers(
    settings: Settings, secrets: Mapping[str, Secret[Any]], metrics: ProviderMetrics
) -> AsyncIterator[Mapping[str, RemoteModel]]:
    """Have the models of all providers while the context is open; none is called until it is used.

    Args:
        settings: Which, and how.
        secrets: Their keys, by setting.
        metrics: Where calls are counted.

    Yields:
        The models by their names here, `NAME/MODEL`, in the order of the settings.

    Raises:
        ConfigurationError: The CA of one cannot be read.
    """
    if not settings.providers:
        yield {}
        return
    await asyncio.to_thread(_load)
    async with AsyncExitStack() as stack:
        circuits: list[Circuit] = []
        models: dict[str, RemoteModel] = {}
        for name, own in settings.providers.items():
            circuit = _circuit(name, own, metrics)
            provider = await stack.enter_async_context(_open(name, own, secrets, circuit, metrics))
            made = (make_model(provider, model, values, own) for model, values in own.models.items())
            models |= {model.card.name: model for model in made}
            circuits.append(circuit)
        await stack.enter_async_context(running(partial(_watch, circuits)))
        yield models


def states(models: Iterable[RemoteModel]) -> Iterator[tuple[str, State]]:
    """The state of the circuit of each provider that has any of some models, with the provider's name."""
    providers = {model.provider.name: model.provider for model in models}
    return ((name, provider.state) for name, provider in providers.items())


def _load() -> None:
    """Blocking, for seconds: what only providers need."""
    openai_tokens.load()
    import_module("embedsvc.providers.sdk")


def _circuit(name: str, settings: ProviderSettings, metrics: ProviderMetrics) -> Circuit:
    patience = min(PATIENCE, settings.timeout_seconds)
    return Circuit(name, _breaker(settings), metrics.circuit.labels(name), patience)


def _breaker(settings: ProviderSettings) -> Breaker:
    pause = settings.pause_seconds
    return Breaker(settings.failures, pause, max(pause, LONGEST_PAUSE))


@asynccontextmanager
async def _open(
    name: str,
    settings: ProviderSettings,
    secrets: Mapping[str, Secret[Any]],
    circuit: Circuit,
    metrics: ProviderMetrics,
) -> AsyncIterator[RemoteProvider]:
    from embedsvc.providers import sdk  # noqa: PLC0415 - takes a second, and is not needed without a provider

    secret = secrets.get(f"providers.{name}.key")
    key = (lambda: str(secret.meaning)) if secret else (lambda: sdk.NO_KEY)
    async with sdk.open_sdk(settings, key, trusted(name, settings.ca)) as opened:
        yield RemoteProvider(name, settings, opened.embed, circuit, metrics)


async def _watch(circuits: Sequence[Circuit]) -> None:
    """Show what becomes of circuits while nobody calls."""
    while True:
        for circuit in circuits:
            circuit.show()
        await asyncio.sleep(INTERVAL)
