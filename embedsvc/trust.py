"""Puts together who may call, how much, and what is written down: one context for all of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from embedsvc.access import revocation
from embedsvc.access.gate import Gate, Policy
from embedsvc.access.holdings import Holdings
from embedsvc.background import running
from embedsvc.cache.redis import parse_password
from embedsvc.config import Settings
from embedsvc.errors import ConfigurationError
from embedsvc.keys import finder
from embedsvc.keys.finder import KeyFinder
from embedsvc.keys.ring import open_ring
from embedsvc.ledger.ledger import Ledger, open_ledger
from embedsvc.ledger.retention import purging
from embedsvc.limits.limiter import Limiter, open_limiter
from embedsvc.metrics import Metrics
from embedsvc.secret.keeper import Parse, Secret, open_secrets
from embedsvc.signing.canonical import parse_secrets
from embedsvc.signing.verifier import Verifier
from embedsvc.store.convex.client import parse_admin_key
from embedsvc.store.convex.store import open_convex
from embedsvc.store.protocols import Store
from embedsvc.store.sqlite.store import open_sqlite

KEYS = "auth.keys"
REVOKED = "tls.revoked"
ADMIN_KEY = "store.admin_key"
CACHE_PASSWORD = "cache.password"  # noqa: S105 - the name of the setting
UPKEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Trust:
    """What the server's interceptors need.

    Attributes:
        gate: Lets callers in.
        limiter: Keeps their limits.
        ledger: Writes down what they did.
        store: Where all of it is kept.
        secrets: Those of the configuration, by the setting that says where each is.
    """

    gate: Gate
    limiter: Limiter
    ledger: Ledger
    store: Store
    secrets: Mapping[str, Secret[Any]]


@asynccontextmanager
async def open_trust(settings: Settings, metrics: Metrics) -> AsyncIterator[Trust]:
    """Have it all while the context is open; leaving writes down what is left.

    Raises:
        ConfigurationError: A secret or the store cannot be had.
    """
    async with AsyncExitStack() as stack:
        secrets = await stack.enter_async_context(
            open_secrets(settings.references, settings.vault, settings.aws, parsers(settings))
        )
        store = await stack.enter_async_context(open_store(settings, secrets))
        if settings.store.kind == "sqlite":  # Convex purges by itself
            await stack.enter_async_context(purging(store, settings.ledger))
        ledger = await stack.enter_async_context(open_ledger(store, settings.ledger, metrics))
        limiter = await stack.enter_async_context(open_limiter(store, metrics.limits))
        ring = await stack.enter_async_context(open_ring(store, metrics))
        verifier = await stack.enter_async_context(_open_verifier(settings, secrets))
        keys = KeyFinder(secrets.get(KEYS), ring)
        policy = Policy(settings.auth.identities, secrets.get(REVOKED))
        gate = Gate(policy, keys, verifier, Holdings(settings, limiter), ledger)
        yield Trust(gate, limiter, ledger, store, secrets)


def parsers(settings: Settings) -> dict[str, Parse[Any]]:
    """What reads the secrets that settings refer to, by setting."""
    providers = {f"providers.{name}.key": parse_admin_key for name in settings.providers}
    signers = {identity.signer: parse_secrets for identity in settings.auth.identities}
    own = {
        KEYS: finder.parse,
        REVOKED: revocation.parse,
        ADMIN_KEY: parse_admin_key,
        CACHE_PASSWORD: parse_password,
    }
    return {**own, **providers, **signers}


def open_store(settings: Settings, secrets: Mapping[str, Secret[Any]]) -> AbstractAsyncContextManager[Store]:
    """The store that the settings choose."""
    if settings.store.kind == "sqlite":
        return open_sqlite(settings.store.path)
    return open_convex(settings.store.url, lambda: secrets[ADMIN_KEY].meaning)


@asynccontextmanager
async def _open_verifier(settings: Settings, secrets: Mapping[str, Secret[Any]]) -> AsyncIterator[Verifier]:
    """Verify signatures, and remember nonces as long as they count."""
    signers: dict[str, Callable[[], Sequence[bytes]]] = {
        identity.name: lambda secret=secrets[identity.signer]: secret.meaning  # type: ignore[misc]
        for identity in settings.auth.identities
        if identity.signing_secret is not None
    }
    if not signers:
        yield Verifier({})
        return
    folder = settings.auth.nonces
    verifier = Verifier(signers, folder=folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        verifier.upkeep()
    except OSError as error:
        raise ConfigurationError(f"auth.nonces {folder}: {error}") from None
    async with running(partial(_keep_up, verifier)):
        yield verifier


async def _keep_up(verifier: Verifier) -> None:
    while True:
        await asyncio.sleep(UPKEEP_SECONDS)
        verifier.upkeep()
