"""Keeps secrets: read at the start, read again when they change, and had without waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar

import structlog

from embedsvc.background import running
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


T = TypeVar("T")

Parse: TypeAlias = Callable[[bytes], T]
"""Reads what a secret means; raises ValueError, without any of it in its message."""


class Secret(Generic[T]):
    """A secret that was had and may change; neither `repr` nor `str` shows it.

    Attributes:
        ref: Where it is kept.
        value: All of it, as it was last had.
        meaning: What that means.
    """

    __slots__ = ("_parse", "meaning", "ref", "value")

    def __init__(self, ref: SecretRef, value: bytes, parse: Parse[T]) -> None:
        self.ref = ref
        self._parse = parse
        self.replace(value)

    def replace(self, value: bytes) -> None:
        """Hold another value from now on. Raises ValueError, and changes nothing, where it means nothing."""
        self.meaning = self._parse(value)
        self.value = value

    def __repr__(self) -> str:
        return f"Secret({self.ref})"


class Keeper:
    """The secrets of one place: read one after another in a thread, so that it is never asked twice at once.

    Attributes:
        secrets: They, by the setting that refers to them.

    Args:
        source: The place.
        seconds: How long until it is looked at again.
    """

    def __init__(self, source: Source, seconds: float) -> None:
        self.secrets: dict[str, Secret[Any]] = {}
        self._source = source
        self._seconds = seconds
        self._failures: dict[str, str] = {}

    async def add(self, setting: str, ref: SecretRef, parse: Parse[Any] = bytes) -> None:
        """Read a secret for the first time.

        Raises:
            ConfigurationError: It cannot be read, or means nothing; the message has the setting's name.
        """
        try:
            self.secrets[setting] = await asyncio.to_thread(lambda: Secret(ref, self._fetch(ref), parse))
        except (SecretError, ValueError) as error:
            raise ConfigurationError(f"{setting} ({ref}): {error}") from None

    async def look(self) -> None:
        """Read all again. What cannot be read stays as it is, and is told of once for each reason."""
        for setting, secret in self.secrets.items():
            try:
                changed = await asyncio.to_thread(self._renew, secret)
            except (SecretError, ValueError) as error:
                self._fail(setting, str(error))
            else:
                self._succeed(setting, changed=changed)

    async def watch(self) -> None:
        """Keep them as they are in their place."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.look()

    def close(self) -> None:
        """Let the place go; secrets stay as they are."""
        self._source.close()

    def _fetch(self, ref: SecretRef) -> bytes:
        value = self._source.fetch(ref)
        if not value.strip():
            raise SecretError("it is empty")
        return value

    def _renew(self, secret: Secret[Any]) -> bool:
        """Read one again; return whether it is another."""
        value = self._fetch(secret.ref)
        changed = value != secret.value
        if changed:
            secret.replace(value)
        return changed

    def _fail(self, setting: str, reason: str) -> None:
        if self._failures.get(setting) != reason:
            self._failures[setting] = reason
            ref = str(self.secrets[setting].ref)
            log.warning(
                "secret not read again; that of before holds", setting=setting, secret=ref, error=reason
            )

    def _succeed(self, setting: str, *, changed: bool) -> None:
        ref = str(self.secrets[setting].ref)
        if self._failures.pop(setting, None):
            log.info("secret read again", setting=setting, secret=ref)
        if changed:
            log.info("secret changed", setting=setting, secret=ref)


@asynccontextmanager
async def open_secrets(
    refs: Mapping[str, SecretRef],
    vault: VaultSettings | None = None,
    aws: AwsSettings | None = None,
    parsers: Mapping[str, Parse[Any]] = MappingProxyType({}),
) -> AsyncIterator[Mapping[str, Secret[Any]]]:
    """Have secrets, and keep them fresh while the context is open.

    Args:
        refs: Where they are, by the setting that says so, as in "store.admin_key".
        vault: How Vault is reached.
        aws: How AWS is reached.
        parsers: What reads them, by setting; the others mean their bytes.

    Yields:
        The secrets, by setting.

    Raises:
        ConfigurationError: One cannot be read, or means nothing; the message has the setting's name.
    """
    vault, aws = vault or VaultSettings(), aws or AwsSettings()
    keepers: dict[Scheme, Keeper] = {
        "file": Keeper(FileSource(), LOOK_SECONDS),
        "vault": Keeper(VaultSource(vault), vault.refresh_seconds),
        "aws": Keeper(AwsSource(aws), aws.refresh_seconds),
    }
    async with AsyncExitStack() as stack:
        for keeper in keepers.values():
            stack.callback(keeper.close)
        for setting, ref in refs.items():
            await keepers[ref.scheme].add(setting, ref, parsers.get(setting, bytes))
        for keeper in keepers.values():
            if keeper.secrets:
                await stack.enter_async_context(running(keeper.watch))
        yield {setting: keepers[ref.scheme].secrets[setting] for setting, ref in refs.items()}
