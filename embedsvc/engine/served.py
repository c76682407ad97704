"""One model that is served: what is known of it, its vocabulary and the way to its replicas."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from embedsvc.config import EngineSettings
from embedsvc.engine.batcher import Batcher, open_batcher
from embedsvc.engine.choice import batch_limits
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
class ServedModel:
    """One model, loaded.

    Attributes:
        card: What is known of it.
        tokenizer: Its vocabulary.
        batcher: The way to its replicas.
    """

    card: ModelCard
    tokenizer: ModelTokenizer
    batcher: Batcher

    @property
    def name(self) -> str:
        """Its canonical name."""
        return self.card.name

    @property
    def pool(self) -> Pool:
        """Its replicas."""
        return self.batcher.pool

    @property
    def dimensions(self) -> int:
        """The length of its vectors."""
        return self.pool.dimensions

    @property
    def devices(self) -> Sequence[str]:
        """Where its replicas run, those that are being replaced included."""
        return self.pool.spec.devices

    @property
    def ready(self) -> bool:
        """Whether any replica can answer."""
        return not self.batcher.closed and bool(self.pool.replicas)

    @asynccontextmanager
    async def entered(self, _caller: Caller) -> AsyncIterator[Batcher]:
        """The way to its replicas, which stay for as long as the context is open.

        Raises:
            OverloadedError: It is closed.
        """
        with self.batcher.entered():
            yield self.batcher


@asynccontextmanager
async def open_model(
    source: ModelSource,
    devices: Sequence[str],
    settings: EngineSettings,
    metrics: Metrics,
    sharing: Sharing | None = None,
) -> AsyncIterator[ServedModel]:
    """Load a model and warm it up; leaving computes what waits, then unloads it.

    Raises:
        ConfigurationError: It cannot be used on a device, or as configured.
    """
    card, engine_metrics = source.card, metrics.engine(source.card.name)
    timing = Timing(settings.start_seconds, settings.hang_seconds)
    spec = PoolSpec(card.name, source.build, devices, source.tokenizer.extremes, timing)
    if sharing:
        spec = replace(spec, doors=sharing.doors(card.name, len(devices)), owner=sharing.owner)
    async with open_pool(spec, engine_metrics) as pool:
        if (card.dimensions or 1) > pool.dimensions:
            raise ConfigurationError(
                f'models.settings."{card.name}".dimensions: {card.name} has {pool.dimensions} only'
            )
        # One queue, so that any replica must be able to take any batch: the least of their limits.
        limits = min(
            (batch_limits(settings, device, padded=pool.padded) for device in devices),
            key=lambda limits: limits.tokens,
        )
        async with open_batcher(pool, limits, engine_metrics) as batcher:
            model = ServedModel(card, source.tokenizer, batcher)
            metrics.model_ready.labels(card.name).set_function(lambda: model.ready)
            metrics.replicas_ready.labels(card.name).set_function(lambda: len(pool.replicas))
            log.info("model loaded", model=card.name, revision=card.files.revision, devices=devices)
            yield model
    log.info("model unloaded", model=card.name)
