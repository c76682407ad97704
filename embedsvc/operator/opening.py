"""Opens the store for a command."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError
from embedsvc.secret.keeper import open_secrets
from embedsvc.store.protocols import Store, StoreError
from embedsvc.trust import ADMIN_KEY, open_store, parsers


@asynccontextmanager
async def opened_store(settings: Settings, *, make: bool = False) -> AsyncIterator[Store]:
    """The store, for one command.

    Args:
        settings: Which.
        make: Whether to make SQLite's file where there is none; else that is taken for the wrong folder.

    Raises:
        ConfigurationError: It cannot be had, or did not do what it was asked.
    """
    path = settings.store.path
    if settings.store.kind == "sqlite" and not make and not await asyncio.to_thread(path.exists):
        raise ConfigurationError(
            f"store.path {path}: there is no such file in {Path.cwd()}. Run the command in the folder of the "
            "server, or set EMBEDSVC_STORE__PATH; `embedsvc keys create` makes a file"
        )
    refs = {ADMIN_KEY: settings.store.admin_key} if settings.store.admin_key else {}
    try:
        async with (
            open_secrets(refs, settings.vault, settings.aws, parsers(settings)) as secrets,
            open_store(settings, secrets) as store,
        ):
            yield store
    except StoreError as error:
        raise ConfigurationError(f"store: {error}") from None
