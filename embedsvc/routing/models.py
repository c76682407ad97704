"""Every model by every name: those of this machine, those elsewhere, and names that stand for one of two."""

import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from embedsvc.config import Settings
from embedsvc.engine.admission import Admission
from embedsvc.engine.catalog import OPENAI_NAMES
from embedsvc.engine.engine import Engine
from embedsvc.errors import ConfigurationError, ModelNotFoundError
from embedsvc.providers.provider import EmbeddingProvider
from embedsvc.routing.feed import Routes, Surroundings, open_feed
from embedsvc.routing.names import check_names
from embedsvc.routing.route import check, from_settings, is_shadowed, side_of
from embedsvc.store.protocols import RouteStore
from embedsvc.types import Caller

SHADOWS = 8
"""What is sent to a second model may be one part in so many of what may wait."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who answers a request.

    Attributes:
        model: The one that should.
        alias: The name of the route that says so; empty where the request names a model.
        fallback: Who may answer in its place; None: nobody.
        shadow: Who is sent the same, and answers nobody; None: nobody.
        openai_ids: Whether token ids are of OpenAI's vocabulary: under its names, those of routes, whose
            sides have different ones, and of models elsewhere. Else they are of the model's own.
    """

    model: EmbeddingProvider
    alias: str = ""
    fallback: EmbeddingProvider | None = None
    shadow: EmbeddingProvider | None = None
    openai_ids: bool = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Those who may answer stay while the context is open, though another may take their name."""
        with ExitStack() as stack:
            stack.enter_context(self.model.held())
            if self.fallback:
                stack.enter_context(self.fallback.held())
            yield


class Models:
    """Finds models. Open it with `open_models`.

    Args:
        engine: Those of this machine.
        remote: Those elsewhere, by canonical name.
        settings: What is configured.

    Attributes:
        routes: The routes, as they are now.
        configured: Those of the configuration alone.
        update: Puts the routes together anew.
        shadow_admission: The bound on what is sent to a second model: it takes no room from callers.
    """

    def __init__(self, engine: Engine, remote: Mapping[str, EmbeddingProvider], settings: Settings) -> None:
        self.routes = self.configured = _read(settings)
        self.update: Callable[[], None] = self._go_by_configured
        self._engine = engine
        self._remote = remote
        self._elsewhere = Admission(settings.engine.queue_tokens)
        self.shadow_admission = Admission(max(1, settings.engine.queue_tokens // SHADOWS))

    def follow(self, routes: Routes) -> None:
        """Go by other routes from now on."""
        self.routes = routes

    def check(self, settings: Settings) -> None:
        """See whether a new configuration can be taken.

        Raises:
            ConfigurationError: A route leads to a model elsewhere that is not here yet, or a model of this
                machine is to have the name of one elsewhere.
        """
        check_names(self._remote, settings.models)
        known = (*settings.models.served, *self._remote)
        for alias, route in _read(settings).items():
            try:
                check(route, known)
            except ValueError as error:
                raise ConfigurationError(f'routes."{alias}": {error}; providers need a restart') from None

    async def apply(self, settings: Settings) -> None:
        """Take the routes of a new configuration, which count at once."""
        self.configured = _read(settings)
        self.update()

    def _go_by_configured(self) -> None:
        self.follow(self.configured)

    @property
    def all(self) -> Mapping[str, EmbeddingProvider]:
        """Every model by canonical name, the primary one first."""
        return {**self._engine.models, **self._remote}

    @property
    def names(self) -> Mapping[str, EmbeddingProvider]:
        """Models by every name that they answer to; of a route, the one that it leads to."""
        own = {**self._engine.names, **self._remote}
        routed = {alias: own.get(route.model) for alias, route in self.routes.items()}
        return {name: model for name, model in (own | routed).items() if model}

    def find(self, name: str) -> EmbeddingProvider:
        """Return a model by its name or an alias; by the empty name, the primary one.

        Raises:
            ModelNotFoundError: No model has this name.
        """
        if route := self.routes.get(name):
            name = route.model
        if remote := self._remote.get(name):
            return remote
        try:
            return self._engine.find(name)
        except ModelNotFoundError:
            raise ModelNotFoundError(
                f"the model {name[:64]!r} does not exist; this server has {', '.join(self.all)}",
                param="model",
            ) from None

    def choose(self, name: str, caller: Caller) -> Choice:
        """Say who answers a request.

        Raises:
            ModelNotFoundError: No model has this name.
        """
        route = self.routes.get(name)
        if route is None:
            return Choice(self.find(name), openai_ids=name in OPENAI_NAMES or name in self._remote)
        answering, other = side_of(route, caller.name, caller.index)
        second = self.all.get(other)
        shadowed = is_shadowed(route, random.random())  # noqa: S311 - a sample
        return Choice(
            self.find(answering),
            name,
            fallback=second if route.fallback else None,
            shadow=second if shadowed else None,
            openai_ids=True,
        )

    def is_here(self, name: str) -> bool:
        """Whether this machine computes a model, by its own name."""
        return name not in self._remote

    def admission(self, model: EmbeddingProvider) -> Admission:
        """The bound on what waits for a model: what is slow elsewhere does not fill the engine's queue."""
        return self._elsewhere if model.card.name in self._remote else self._engine.admission


@asynccontextmanager
async def open_models(
    engine: Engine, remote: Mapping[str, EmbeddingProvider], settings: Settings, store: RouteStore
) -> AsyncIterator[Models]:
    """Go by what the configuration and the store say of aliases while the context is open.

    Args:
        engine: The models of this machine.
        remote: Those elsewhere, by canonical name.
        settings: What is configured.
        store: Where `embedsvc migrate set` keeps what it says.
    """
    models = Models(engine, remote, settings)
    around = Surroundings(lambda: models.configured, lambda: models.all, models.follow)
    async with open_feed(store, around) as feed:
        models.update = feed.update
        yield models


def _read(settings: Settings) -> Routes:
    return {alias: from_settings(alias, route) for alias, route in settings.routes.items()}
