"""Keeps secrets: read at the start, read again when they change, and had without waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

import structlog

from embedsvc.errors import ConfigurationError
from embedsvc.secret.aws import AwsSource
from embedsvc.secret.files import FileSource
from embedsvc.secret.reference import Scheme, SecretRef
from embedsvc.secret.settings import AwsSettings, VaultSettings
from embedsvc.secret.source import SecretError, Source
from embedsvc.secret.vault import VaultSource

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""How often files are looked at."""


class Secret:
    """A secret that was had and may change; neither `repr` nor `str` shows it.

    Attributes:
        ref: Where it is kept.
        value: All of it, as it was last had.
        lines: Those of its lines that are not blank. The first counts; others are older, and still accepted.
    """

    __slots__ = ("lines", "ref", "value")

    def __init__(self, ref: SecretRef, value: bytes) -> None:
        self.ref = ref
        self.replace(value)

    def replace(self, value: bytes) -> None:
        """Hold another value from now on."""
        self.value = value
        self.lines = tuple(line for line in value.splitlines() if line.strip())

    def __repr__(self) -> str:
        return f"Secret({self.ref})"


Changed: TypeAlias = Callable[[str, Secret], None]
"""Is told, on the event loop, which setting's secret has changed."""


class Keeper:
    """The secrets of one place: read one after another in a thread, so that it is never asked twice at once.

    Attributes:
        secrets: They, by the setting that refers to them.

    Args:
        source: The place.
        seconds: How long until it is looked at again.
        changed: Is told of changes.
    """

    def __init__(self, source: Source, seconds: float, changed: Changed | None = None) -> None:
        self.secrets: dict[str, Secret] = {}
        self._source = source
        self._seconds = seconds
        self._changed = changed
        self._failures: dict[str, str] = {}

    async def add(self, setting: str, ref: SecretRef) -> None:
        """Read a secret for the first time.

        Raises:
            ConfigurationError: It cannot be read; the message has the setting's name.
        """
        try:
            self.secrets[setting] = Secret(ref, await self._fetch(ref))
        except SecretError as error:
            raise ConfigurationError(f"{setting} ({ref}): {error}") from None

    async def look(self) -> None:
        """Read all again. What cannot be read stays as it is, and is told of once for each reason."""
        for setting, secret in self.secrets.items():
            try:
                value = await self._fetch(secret.ref)
            except SecretError as error:
                self._fail(setting, str(error))
            else:
                self._succeed(setting, value)

    async def watch(self) -> None:
        """Keep them as they are in their place."""
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self.look()
            except Exception:
                log.exception("secrets were not looked at")

    def close(self) -> None:
        """Let the place go; secrets stay as they are."""
        self._source.close()

    async def _fetch(self, ref: SecretRef) -> bytes:
        value = await asyncio.to_thread(self._source.fetch, ref)
        if not value.strip():
            raise SecretError("it is empty")
        return value

    def _fail(self, setting: str, reason: str) -> None:
        if self._failures.get(setting) != reason:
            self._failures[setting] = reason
            ref = str(self.secrets[setting].ref)
            log.warning(
                "secret not read again; that of before holds", setting=setting, secret=ref, error=reason
            )

    def _succeed(self, setting: str, value: bytes) -> None:
        secret = self.secrets[setting]
        if self._failures.pop(setting, None):
            log.info("secret read again", setting=setting, secret=str(secret.ref))
        if value != secret.value:
            secret.replace(value)
            log.info("secret changed", setting=setting, secret=str(secret.ref))
            self._tell(setting, secret)

    def _tell(self, setting: str, secret: Secret) -> None:
        try:
            if self._changed:
                self._changed(setting, secret)
        except Exception as error:  # noqa: BLE001 - not logged whole, since its text may quote the secret
            name = type(error).__name__
            log.error("secret changed, and what uses it failed", setting=setting, error=name)  # noqa: TRY400


@asynccontextmanager
async def open_secrets(
    refs: Mapping[str, SecretRef],
    vault: VaultSettings | None = None,
    aws: AwsSettings | None = None,
    changed: Changed | None = None,
) -> AsyncIterator[Mapping[str, Secret]]:
    """Have secrets, and keep them fresh while the context is open.

    Args:
        refs: Where they are, by the setting that says so, as in "store.admin_key".
        vault: How Vault is reached.
        aws: How AWS is reached.
        changed: Is told of changes.

    Yields:
        The secrets, by setting.

    Raises:
        ConfigurationError: One cannot be read; the message has the setting's name.
    """
    keepers: dict[Scheme, Keeper] = {
        "file": Keeper(FileSource(), LOOK_SECONDS, changed),
        "vault": _keep_vault(vault or VaultSettings(), changed),
        "aws": _keep_aws(aws or AwsSettings(), changed),
    }
    try:
        for setting, ref in refs.items():
            await keepers[ref.scheme].add(setting, ref)
        async with _watching([keeper for keeper in keepers.values() if keeper.secrets]):
            yield {setting: keepers[ref.scheme].secrets[setting] for setting, ref in refs.items()}
    finally:
        for keeper in keepers.values():
            keeper.close()


def _keep_vault(settings: VaultSettings, changed: Changed | None) -> Keeper:
    return Keeper(VaultSource(settings), settings.refresh_seconds, changed)


def _keep_aws(settings: AwsSettings, changed: Changed | None) -> Keeper:
    return Keeper(AwsSource(settings), settings.refresh_seconds, changed)


@asynccontextmanager
async def _watching(keepers: list[Keeper]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(keeper.watch(), name="secrets") for keeper in keepers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
