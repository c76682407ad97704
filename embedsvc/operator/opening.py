"""Opens the store for a command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError
from embedsvc.secret.keeper import open_secrets
from embedsvc.store.protocols import Store, StoreError
from embedsvc.trust import ADMIN_KEY, open_store


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The store, for one command.

    Raises:
        ConfigurationError: It cannot be had, or did not do what it was asked.
    """
    refs = {ADMIN_KEY: settings.store.admin_key} if settings.store.admin_key else {}
    try:
        async with (
            open_secrets(refs, settings.vault, settings.aws) as secrets,
            open_store(settings, secrets) as store,
        ):
            yield store
    except StoreError as error:
        raise ConfigurationError(f"store: {error}") from None
