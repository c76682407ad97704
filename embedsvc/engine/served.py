"""One model that is served: what is known of it, its vocabulary and the way to its replicas."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from embedsvc.config import EngineSettings
from embedsvc.engine.batcher import Batcher, open_batcher
from embedsvc.engine.choice import batch_limits
from embedsvc.engine.loader import Loader, State
from embedsvc.engine.pool import Pool, PoolSpec, open_pool
from embedsvc.engine.replica import Timing
from embedsvc.engine.sharing import Sharing
from embedsvc.engine.source import ModelCard, ModelSource
from embedsvc.engine.tokenizer import ModelTokenizer
from embedsvc.errors import ConfigurationError
from embedsvc.metrics import Metrics
from embedsvc.types import Caller

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the models of an engine have in common.

    Attributes:
        devices: One replica of each for every entry.
        settings: How texts are batched, and how long anything may take.
        metrics: Where it is counted.
        sharing: How replicas are shared with other processes; None: they are not.
    """

    devices: Sequence[str]
    settings: EngineSettings
    metrics: Metrics
    sharing: Sharing | None = None


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model, loaded or to be loaded when it is needed.

    Attributes:
        source: What it is made of.
        loader: Its weights; those of another source may be the same.
        devices: Where its replicas run, those that are being replaced included.
    """

    source: ModelSource
    loader: Loader
    devices: Sequence[str]

    @property
    def card(self) -> ModelCard:
        """What is known of it."""
        return self.source.card

    @property
    def name(self) -> str:
        """Its canonical name."""
        return self.source.card.name

    @property
    def tokenizer(self) -> ModelTokenizer:
        """Its vocabulary."""
        return self.source.tokenizer

    @property
    def batcher(self) -> Batcher | None:
        """The way to its replicas; None while it is not loaded."""
        return self.loader.batcher

    @property
    def pool(self) -> Pool | None:
        """Its replicas; None while it is not loaded."""
        return self.loader.batcher.pool if self.loader.batcher else None

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        return self.pool.dimensions if self.pool else self.card.files.dimensions or 0

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self.loader.state

    @property
    def ready(self) -> bool:
        """Whether any replica can answer."""
        return self.loader.state is State.READY

    def held(self) -> AbstractContextManager[None]:
        """While the context is open it can be entered, even if another model takes its name meanwhile.

        It need not be loaded for that: who finds all in a cache has no use for its weights.

        Raises:
            OverloadedError: It is unloaded for good.
        """
        return self.loader.held()

    @asynccontextmanager
    async def entered(self, caller: Caller) -> AsyncIterator[Batcher]:
        """The way to its replicas, which stay for as long as the context is open.

        A model that is not loaded is loaded first. That goes on when the caller leaves, and serves the next.

        Raises:
            DeadlineExceededError: The caller's deadline passed first.
            ProviderDownError: It cannot be loaded now.
            OverloadedError: It does not fit beside those that are in use, or is unloaded for good.
        """
        with self.loader.wanted():
            batcher = self.loader.batcher or await self.loader.need(caller.deadline)
            with batcher.entered():
                yield batcher


@asynccontextmanager
async def open_weights(source: ModelSource, surroundings: Surroundings) -> AsyncIterator[Batcher]:
    """Load a model and warm it up; leaving computes what waits, then unloads it.

    Raises:
        ConfigurationError: It cannot be used on a device, or as configured.
    """
    card, settings, devices = source.card, surroundings.settings, surroundings.devices
    metrics = surroundings.metrics.engine(card.name)
    async with open_pool(_pool_of(source, surroundings), metrics) as pool:
        _check_loaded(card, pool.dimensions)
        # One queue, so that any replica must be able to take any batch: the least of their limits.
        limits = min(
            (batch_limits(settings, device, padded=pool.padded) for device in devices),
            key=lambda limits: limits.tokens,
        )
        async with open_batcher(pool, limits, metrics) as batcher:
            log.info("model loaded", model=card.name, revision=card.files.revision, devices=devices)
            yield batcher
    log.info("model unloaded", model=card.name)


def _pool_of(source: ModelSource, surroundings: Surroundings) -> PoolSpec:
    card, settings, sharing = source.card, surroundings.settings, surroundings.sharing
    timing = Timing(settings.start_seconds, settings.hang_seconds)
    spec = PoolSpec(
        card.name,
        source.build,
        surroundings.devices,
        source.tokenizer.extremes,
        timing,
        revision=card.files.revision,
    )
    if sharing is None:
        return spec
    doors = sharing.doors(card.name, len(surroundings.devices))
    return replace(spec, doors=doors, owner=sharing.owner)


def _check_loaded(card: ModelCard, dimensions: int) -> None:
    """See that the files have told the truth. Raises ConfigurationError."""
    told = card.files.dimensions
    if told is not None and told != dimensions:
        raise ConfigurationError(
            f"the model {card.name} cannot be used: its files in {card.files.folder} say {told} dimensions, "
            f"and its vectors have {dimensions}"
        )
    check_card(card, dimensions)


def check_card(card: ModelCard, dimensions: int) -> None:
    """See that what is configured goes with the length of the vectors.

    Raises:
        ConfigurationError: It does not.
    """
    if (card.dimensions or 1) > dimensions:
        raise ConfigurationError(
            f'models.settings."{card.name}".dimensions: {card.name} has {dimensions} only'
        )
    if card.calibration and card.calibration.dimensions != dimensions:
        raise ConfigurationError(
            f"the calibration of {card.name} is for {card.calibration.dimensions} dimensions, "
            f"and its vectors have {dimensions}"
        )
