"""The models that are served: each with its tokenizer, its replicas and its batcher."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from embedsvc.config import Settings
from embedsvc.engine.admission import Admission
from embedsvc.engine.batcher import Batcher, open_batcher
from embedsvc.engine.pool import Replica, open_replica
from embedsvc.engine.queue import BatchLimits
from embedsvc.engine.source import ModelCard, open_source
from embedsvc.engine.tokenizer import ModelTokenizer
from embedsvc.errors import ConfigurationError, ModelNotFoundError
from embedsvc.metrics import Metrics

log = structlog.get_logger()
Result = TypeVar("Result")


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
    def dimensions(self) -> int:
        """The length of its vectors."""
        return self.batcher.replicas[0].dimensions

    @property
    def devices(self) -> list[str]:
        """Where its replicas run."""
        return [replica.device for replica in self.batcher.replicas]

    @property
    def ready(self) -> bool:
        """Whether any replica can answer."""
        return not self.batcher.closed and any(replica.healthy for replica in self.batcher.replicas)


@dataclass(frozen=True, slots=True)
class Engine:
    """Every served model.

    Attributes:
        models: By canonical name, the primary model first.
        names: Models by every name that they answer to.
        admission: The bound on what waits, over all models.
        threads: Where texts are tokenized.
        gpu_name: The first GPU; None where there is none.
    """

    models: Mapping[str, ServedModel]
    names: Mapping[str, ServedModel]
    admission: Admission
    threads: ThreadPoolExecutor
    gpu_name: str | None

    @property
    def primary(self) -> ServedModel:
        """The model of requests that name none."""
        return next(iter(self.models.values()))

    def find(self, name: str) -> ServedModel:
        """Return a model by its name or an alias; by the empty name, the primary one.

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

    async def probe_failed(self) -> None:
        """Try one text on every replica whose last batch failed."""
        for model in self.models.values():
            for replica in model.batcher.replicas:
                if not replica.healthy:
                    await _probe(model.name, replica)

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Run a tokenizer's blocking work off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


async def _probe(model: str, replica: Replica) -> None:
    try:
        await replica.probe()
    except Exception as error:  # noqa: BLE001 - whatever an encoder raises
        log.warning("replica still fails", model=model, device=replica.device, error=repr(error))


@asynccontextmanager
async def open_engine(settings: Settings, metrics: Metrics) -> AsyncIterator[Engine]:
    """Load and warm up every configured model; leaving computes what waits, then unloads.

    Raises:
        ConfigurationError: A model or a device that is not there.
    """
    async with AsyncExitStack() as stack:
        threads = stack.enter_context(
            ThreadPoolExecutor(settings.engine.tokenizer_threads, thread_name_prefix="tokenizer")
        )
        devices, gpu_name = await asyncio.to_thread(_devices, settings)
        models: dict[str, ServedModel] = {}
        for name in settings.models.served:
            models[name] = await stack.enter_async_context(_open_model(name, settings, devices, metrics))
        admission = Admission(settings.engine.queue_tokens)
        metrics.admitted_tokens.set_function(lambda: admission.held)
        yield Engine(models, _by_every_name(models), admission, threads, gpu_name)


def _by_every_name(models: Mapping[str, ServedModel]) -> dict[str, ServedModel]:
    names: dict[str, ServedModel] = dict(models)
    for model in models.values():
        for alias in model.card.aliases:
            if names.setdefault(alias, model) is not model:
                raise ConfigurationError(
                    f"models: {alias!r} is a name of both {names[alias].name} and {model.name}"
                )
    return names


def _devices(settings: Settings) -> tuple[list[str], str | None]:
    if settings.engine.encoder == "fake":
        return ["cpu" for _ in settings.engine.devices], None
    from embedsvc.engine import devices  # noqa: PLC0415 - torch takes seconds

    return devices.resolve(settings.engine.devices), devices.gpu_name()


@asynccontextmanager
async def _open_model(
    name: str, settings: Settings, devices: Sequence[str], metrics: Metrics
) -> AsyncIterator[ServedModel]:
    source = await asyncio.to_thread(open_source, name, settings)
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(open_replica(source.build, device, source.tokenizer.extremes))
            for device in devices
        ]
        limits = BatchLimits(settings.engine.batch_tokens, settings.engine.batch_texts, replicas[0].padded)
        if (source.card.dimensions or 1) > replicas[0].dimensions:
            raise ConfigurationError(
                f'models.settings."{name}".dimensions: {name} has {replicas[0].dimensions} only'
            )
        batcher = await stack.enter_async_context(open_batcher(replicas, limits, metrics.engine(name)))
        model = ServedModel(source.card, source.tokenizer, batcher)
        _watch(model, replicas, metrics)
        log.info("model loaded", model=name, revision=source.card.files.revision, devices=devices)
        yield model


def _watch(model: ServedModel, replicas: Sequence[Replica], metrics: Metrics) -> None:
    metrics.model_ready.labels(model.name).set_function(lambda: model.ready)
    for replica in replicas:
        if replica.gpu_memory() is not None:
            metrics.gpu_memory.labels(replica.device).set_function(partial(_memory, replica))


def _memory(replica: Replica) -> float:
    return replica.gpu_memory() or 0
