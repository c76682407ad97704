"""The models that are served, found by their names; loaded, replaced and unloaded while others serve."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog

from embedsvc.config import ModelSettings, Settings
from embedsvc.engine import fake
from embedsvc.engine.admission import Admission
from embedsvc.engine.budget import Budget
from embedsvc.engine.devices import Devices, find_devices
from embedsvc.engine.loader import Loader, State, Weights
from embedsvc.engine.offload import Threads, open_threads
from embedsvc.engine.roster import Roster, check, roster_of
from embedsvc.engine.served import ServedModel, Surroundings, open_weights
from embedsvc.engine.sharing import Sharing
from embedsvc.engine.source import ModelSource, open_source
from embedsvc.errors import ModelNotFoundError, OverloadedError
from embedsvc.metrics import Metrics

log = structlog.get_logger()

PROBE_SECONDS = 1.0
"""Between two looks at the replicas."""


class Engine:
    """Every served model: none, before `apply` says which.

    Args:
        settings: How they are served.
        surroundings: What they have in common.
        gpu_name: The first GPU; None where there is none.
        threads: Where texts are tokenized.

    Attributes:
        admission: The bound on what waits, over all models.
        gpu_name: The same.
        threads: Where blocking work is done.
    """

    def __init__(
        self, settings: Settings, surroundings: Surroundings, gpu_name: str | None, threads: Threads
    ) -> None:
        self.admission = Admission(settings.engine.queue_tokens)
        self.gpu_name = gpu_name
        self.threads = threads
        self._settings = settings
        self._surroundings = surroundings
        self._budget = Budget(settings.models.memory_bytes)
        self._roster = Roster({}, {})
        self._leaving: set[Loader] = set()

    @property
    def models(self) -> Mapping[str, ServedModel]:
        """Models by canonical name, the primary one first."""
        return self._roster.models

    @property
    def names(self) -> Mapping[str, ServedModel]:
        """Models by every name that they answer to."""
        return self._roster.names

    @property
    def primary(self) -> ServedModel:
        """The model of requests that name none."""
        return next(iter(self.models.values()))

    def find(self, name: str) -> ServedModel:
        """Return a model by its name or an alias; by the empty name, the primary one. It may not be loaded.

        Raises:
            ModelNotFoundError: No model has this name.
        """
        if not name:
            return self.primary
        try:
            return self.names[name]
        except KeyError:
            raise ModelNotFoundError(
                f"the model {name[:64]!r} does not exist; this server has {', '.join(self.models)}",
                param="model",
            ) from None

    async def apply(self, settings: Settings) -> None:
        """Serve the models that `[models]` names; the rest of a configuration is not looked at.

        Those that are new, or not what they were, are loaded before anything changes; then all changes at
        once. Models that are named no more can still be found by their own names, until `settle`.

        Raises:
            ConfigurationError: One of them cannot be used. What was served before still is.
        """
        models, before = settings.models, self._roster
        sources = [await asyncio.to_thread(self._open_source, name, models) for name in models.served]
        roster = roster_of(sources, before.models, self._make)
        check(roster, models)
        try:
            await self._warm(roster, models)
            self._budget.limit = models.memory_bytes
            self._roster = roster.after(before)
            self._leaving |= before.loaders - roster.loaders
        finally:
            if self.models:
                self._show({*before.models, *roster.models})

    async def settle(self) -> None:
        """Unload what is served no more, when it has done what it still has to do."""
        self._roster = self._roster.alone()
        await self._close_leaving()
        await self._budget.shrink()

    async def close(self) -> None:
        """Unload every model, the last one first."""
        await self._close_leaving()
        for model in reversed([*self.models.values()]):
            await model.loader.close()

    async def probe(self) -> None:
        """Have every idle replica embed a short text: proof that does not queue.

        A guest leaves it to the owner, who alone can end one that hangs.
        """
        pools = [model.pool for model in self.models.values() if model.pool]
        await asyncio.gather(*(pool.probe() for pool in pools if pool.spec.owner))

    def gpu_memory(self, device: str) -> int:
        """Bytes of a GPU's memory that all replicas on it hold."""
        pools = [model.pool for model in self.models.values() if model.pool]
        replicas = (replica for pool in pools for replica in pool.replicas)
        return sum(replica.gpu_memory or 0 for replica in replicas if replica.device == device)

    def _open_source(self, name: str, models: ModelSettings) -> ModelSource:
        """Blocking."""
        settings = self._settings.model_copy(update={"models": models})
        return open_source(name, settings, self._surroundings.devices)

    def _make(self, source: ModelSource) -> ServedModel:
        """Make a model that is not loaded yet."""
        name, devices = source.card.name, self._surroundings.devices
        size = source.card.files.weights_bytes * len(devices)
        weights = Weights(name, size, partial(open_weights, source, self._surroundings))
        loader = Loader(weights, self._budget, self._surroundings.metrics.loading, partial(self._note, name))
        return ServedModel(source, loader, devices)

    async def _warm(self, roster: Roster, models: ModelSettings) -> None:
        """Load all that is to be loaded; where that fails, unload what is new, and raise."""
        fresh = roster.loaders - self._roster.loaders
        pinned = {loader: loader.pinned for loader in roster.loaders}
        limit, self._budget.limit = self._budget.limit, _larger(self._budget.limit, models.memory_bytes)
        try:
            for name, model in roster.models.items():
                model.loader.pinned = name not in models.lazy
                if model.loader.pinned:
                    await model.loader.load()
                elif model.loader in fresh:
                    await self._succeed(name, model)
        except BaseException:
            self._budget.limit = limit
            for loader, before in pinned.items():
                loader.pinned = before
            self._leaving |= fresh
            await self._close_leaving()
            raise

    async def _succeed(self, name: str, model: ServedModel) -> None:
        """Load a model that need not be, if another one that it is to replace is: somebody may use that."""
        previous = self.models.get(name)
        if previous and previous.state in (State.LOADING, State.READY):
            with previous.loader.wanted(), suppress(OverloadedError):  # no room: at the first request, then
                await model.loader.load()

    async def _close_leaving(self) -> None:
        await asyncio.gather(*(self._close(loader) for loader in self._leaving))

    async def _close(self, loader: Loader) -> None:
        await loader.close()
        self._leaving.discard(loader)

    def _note(self, name: str) -> None:
        """A model of this name was loaded or unloaded."""
        self._show({name} & self.models.keys())

    def _show(self, names: set[str]) -> None:
        """Have the series of models say how those do that are served now, as far as they are loaded."""
        metrics = self._surroundings.metrics
        for name in names:
            model = self.models.get(name)
            if model and model.batcher:
                metrics.model_ready.labels(name).set_function(partial(_is_ready, model))
                metrics.replicas_ready.labels(name).set_function(partial(_count_replicas, model))
                metrics.queue_tokens.labels(name).set_function(partial(_count_tokens, model))
            else:
                metrics.forget(name)


def _larger(one: int | None, other: int | None) -> int | None:
    """The larger of two limits; None is none at all."""
    return None if one is None or other is None else max(one, other)


def _is_ready(model: ServedModel) -> int:
    return int(model.ready)


def _count_replicas(model: ServedModel) -> int:
    return len(model.pool.replicas) if model.pool else 0


def _count_tokens(model: ServedModel) -> int:
    return model.batcher.queued_tokens if model.batcher else 0


@asynccontextmanager
async def open_engine(
    settings: Settings, metrics: Metrics, sharing: Sharing | None = None
) -> AsyncIterator[Engine]:
    """Load and warm up every configured model that is not lazy; leaving computes what waits, then unloads.

    Args:
        settings: Which models, and how.
        metrics: Where they are counted.
        sharing: How replicas are shared with other processes; None: they are not.

    Raises:
        ConfigurationError: A model or a device that is not there.
    """
    found = sharing.devices if sharing else await devices_for(settings)
    devices = found.resolve(settings.engine.devices)
    with open_threads(settings.engine.tokenizer_threads, "tokenizer") as threads:
        surroundings = Surroundings(devices, settings.engine, metrics, sharing)
        engine = Engine(settings, surroundings, found.gpu_name, threads)
        metrics.admitted_tokens.set_function(lambda: engine.admission.held)
        for device in found.names:
            metrics.gpu_memory.labels(device).set_function(partial(engine.gpu_memory, device))
        try:
            await engine.apply(settings)
            async with _probing(engine):
                yield engine
        finally:
            await engine.close()


@asynccontextmanager
async def _probing(engine: Engine) -> AsyncIterator[None]:
    """Have replicas prove themselves while the context is open."""
    task = asyncio.create_task(_probe_always(engine))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _probe_always(engine: Engine) -> None:
    while True:
        try:
            await engine.probe()
        except Exception:
            log.exception("replicas were not looked at")
        await asyncio.sleep(PROBE_SECONDS)


async def devices_for(settings: Settings) -> Devices:
    """Ask what the machine has, unless no encoder needs to know.

    Raises:
        ConfigurationError: Torch cannot say.
    """
    return Devices() if settings.engine.encoder in fake.ENCODERS else await find_devices()
