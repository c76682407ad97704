"""Reading the configuration again while the service runs."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Counter
from pydantic import BaseModel

from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Hook:
    """Who takes part of a new configuration without a restart.

    Attributes:
        sections: Which tables of it.
        apply: Takes them. Raises ConfigurationError where they cannot be used, and goes on as before.
        settle: Called when everybody has taken theirs, to give up what was kept for those who had not yet.
        check: Asked before anybody takes anything. Raises ConfigurationError where this one cannot.
    """

    sections: frozenset[str]
    apply: Callable[[Settings], Awaitable[None]]
    settle: Callable[[], Awaitable[None]] | None = None
    check: Callable[[Settings], None] | None = None


class Reloader:
    """Reads the configuration, and hands it to those who can take it.

    Args:
        settings: What the service was started with.
        read: Reads what is configured now. Blocking; raises ConfigurationError.
        hooks: Who is handed it, one after the other; one that fails ends the round.
        reloads: Counts rounds, by result.
    """

    def __init__(
        self, settings: Settings, read: Callable[[], Settings], hooks: Sequence[Hook], reloads: Counter
    ) -> None:
        self._settings = settings
        self._read = read
        self._hooks = hooks
        self._reloads = reloads

    async def reload_when(self, asked: asyncio.Event) -> None:
        """Wait until somebody asks, then reload. All who ask meanwhile get one more round together."""
        await asked.wait()
        asked.clear()
        await self.reload()

    async def reload(self) -> None:
        """Read and apply. Where that fails all goes on as before, and the log says why."""
        try:
            settings = await asyncio.to_thread(self._read)
            for hook in self._hooks:
                if hook.check:
                    hook.check(settings)
            for hook in self._hooks:
                await hook.apply(settings)
        except Exception as error:  # noqa: BLE001 - the service goes on, whatever it is
            self._fail(error)
        else:
            self._succeed(settings)
        for hook in self._hooks:
            if hook.settle:
                await hook.settle()

    def _fail(self, error: Exception) -> None:
        self._reloads.labels("failed").inc()
        defect = None if isinstance(error, ConfigurationError) else error  # of ours: its traceback counts
        log.error("configuration not applied", reason=str(error), exc_info=defect)

    def _succeed(self, settings: Settings) -> None:
        self._reloads.labels("applied").inc()
        taken = {section for hook in self._hooks for section in hook.sections}
        if left := [*_changes(self._settings, settings, Settings.model_fields.keys() - taken)]:
            log.warning("some settings that have changed need a restart", settings=left)
        self._settings = self._settings.model_copy(update={name: getattr(settings, name) for name in taken})
        log.info("configuration applied", models=settings.models.served)


def _changes(before: Settings, after: Settings, sections: set[str]) -> Iterator[str]:
    """The names of settings that differ."""
    for section in sorted(sections):
        old, new = _items(getattr(before, section)), _items(getattr(after, section))
        yield from (f"{section}.{key}" for key in sorted({*old, *new}) if old.get(key) != new.get(key))


def _items(section: BaseModel | dict[str, object]) -> dict[str, object]:
    """A table of the file: of settings, or of names that somebody has chosen."""
    if isinstance(section, BaseModel):
        return {name: getattr(section, name) for name in type(section).model_fields}
    return section
