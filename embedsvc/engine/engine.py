"""The models that are served, found by their names; loaded, replaced and unloaded while others serve."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import structlog

from embedsvc.config import Settings
from embedsvc.engine import fake
from embedsvc.engine.admission import Admission
from embedsvc.engine.devices import Devices, find_devices
from embedsvc.engine.offload import Threads, open_threads
from embedsvc.engine.served import ServedModel, open_model
from embedsvc.engine.sharing import Sharing
from embedsvc.engine.source import open_source
from embedsvc.errors import ConfigurationError, ModelNotFoundError
from embedsvc.metrics import Metrics

log = structlog.get_logger()

PROBE_SECONDS = 1.0
"""Between two looks at the replicas."""


class Engine:
    """Every served model.

    Args:
        settings: Which, and how.
        metrics: Where they are counted.
        devices: What the machine has.
        threads: Where texts are tokenized.
        sharing: How replicas are shared with other processes; None: they are not.

    Attributes:
        models: By canonical name, the primary model first.
        names: Models by every name that they answer to.
        admission: The bound on what waits, over all models.
        gpu_name: The first GPU; None where there is none.
        threads: Where blocking work is done.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        devices: Devices,
        threads: Threads,
        sharing: Sharing | None = None,
    ) -> None:
        self.models: Mapping[str, ServedModel] = {}
        self.names: Mapping[str, ServedModel] = {}
        self.admission = Admission(settings.engine.queue_tokens)
        self.gpu_name = devices.gpu_name
        self.threads = threads
        self._settings = settings
        self._metrics = metrics
        self._devices = devices
        self._sharing = sharing
        self._open: dict[str, AsyncExitStack] = {}

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

    async def load(self, name: str) -> None:
        """Load a model, or load it anew.

        Requests go to the new one once it is warm; the old one does what it still has to do, and is unloaded.

        Raises:
            ConfigurationError: It cannot be used. Whatever was served before still is.
        """
        source = await asyncio.to_thread(open_source, name, self._settings)
        devices = self._devices.resolve(self._settings.engine.devices)
        async with AsyncExitStack() as stack:
            model = await stack.enter_async_context(
                open_model(source, devices, self._settings.engine, self._metrics, self._sharing)
            )
            models = {**self.models, name: model}
            self.names = _by_every_name(models)
            self.models = models
            previous = self._open.get(name)
            self._open[name] = stack.pop_all()
        if previous:
            await previous.aclose()

    async def unload(self, name: str) -> None:
        """Serve a model no more: new requests do not find it, and those that it has are answered first.

        Raises:
            ModelNotFoundError: It is not served.
            ConfigurationError: It is the primary model.
        """
        model = self.find(name)
        if model.card.primary:
            raise ConfigurationError(f"models.primary: {name} cannot be unloaded")
        name = model.name
        self.models = {other: model for other, model in self.models.items() if other != name}
        self.names = _by_every_name(self.models)
        await self._open.pop(name).aclose()
        self._metrics.forget(name)

    async def close(self) -> None:
        """Unload every model, the last one first."""
        while self._open:
            _, stack = self._open.popitem()
            await stack.aclose()

    async def probe(self) -> None:
        """Have every idle replica embed a short text: proof that does not queue.

        A guest leaves it to the owner, who alone can end one that hangs.
        """
        await asyncio.gather(*(model.pool.probe() for model in self.models.values() if model.pool.spec.owner))

    def gpu_memory(self, device: str) -> int:
        """Bytes of a GPU's memory that all replicas on it hold."""
        replicas = (replica for model in self.models.values() for replica in model.pool.replicas)
        return sum(replica.gpu_memory or 0 for replica in replicas if replica.device == device)


@asynccontextmanager
async def open_engine(
    settings: Settings, metrics: Metrics, sharing: Sharing | None = None
) -> AsyncIterator[Engine]:
    """Load and warm up every configured model; leaving computes what waits, then unloads.

    Args:
        settings: Which models, and how.
        metrics: Where they are counted.
        sharing: How replicas are shared with other processes; None: they are not.

    Raises:
        ConfigurationError: A model or a device that is not there.
    """
    devices = sharing.devices if sharing else await devices_for(settings)
    with open_threads(settings.engine.tokenizer_threads, "tokenizer") as threads:
        engine = Engine(settings, metrics, devices, threads, sharing)
        metrics.admitted_tokens.set_function(lambda: engine.admission.held)
        for device in devices.names:
            metrics.gpu_memory.labels(device).set_function(partial(engine.gpu_memory, device))
        try:
            for name in settings.models.served:
                await engine.load(name)
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


def _by_every_name(models: Mapping[str, ServedModel]) -> dict[str, ServedModel]:
    names: dict[str, ServedModel] = dict(models)
    for model in models.values():
        for alias in model.card.aliases:
            if names.setdefault(alias, model) is not model:
                raise ConfigurationError(
                    f"models: {alias!r} is a name of both {names[alias].name} and {model.name}"
                )
    return names
