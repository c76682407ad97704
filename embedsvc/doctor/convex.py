"""Convex: whether it is reached, takes the admin key, and has the functions."""

import time
from collections.abc import AsyncGenerator

import httpx

from embedsvc.config import Settings
from embedsvc.doctor import callers
from embedsvc.doctor.edge import SECONDS
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.errors import ConfigurationError
from embedsvc.secret.keeper import open_secrets
from embedsvc.store.convex.store import open_convex
from embedsvc.store.protocols import StoreError
from embedsvc.trust import ADMIN_KEY, parsers

SUBJECT = Subject("store")
MOST_SHOWN = 60

ADVICE = {
    "has no function": "Deploy the functions: `npx convex deploy` in convex/, docs/deploy/convex.md",
    "AdminKey": "Put this deployment's own admin key where store.admin_key says: docs/deploy/convex.md",
}
"""What helps, by what Convex says."""

OTHERWISE = (
    "The log of the backend says more; functions of another release are deployed anew: docs/deploy/convex.md"
)


async def look(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Ask for its version, then for the keys and the latest failures, as the operator's commands do."""
    url, ref = settings.store.url, settings.store.admin_key
    try:
        async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as http:
            version = (await http.get(f"{url}/version")).raise_for_status().text
    except httpx.HTTPError as error:
        yield SUBJECT.error(
            f"Convex at {url} does not answer: {error!r}",
            "Start it, or correct store.url. Until then known keys go on, limits are each server's own, and "
            "the ledger waits in memory",
        )
        return
    yield SUBJECT.ok(f"Convex at {url} answers: version {version[:MOST_SHOWN]}")
    refs = {ADMIN_KEY: ref} if ref else {}
    try:
        async with (
            open_secrets(refs, settings.vault, settings.aws, parsers(settings)) as secrets,
            open_convex(url, lambda: secrets[ADMIN_KEY].meaning) as store,
        ):
            keys = await store.list_keys()
            await store.failures(time.time())
    except ConfigurationError:
        yield SUBJECT.note("its functions were not asked: see store.admin_key among the secrets")
    except StoreError as error:
        advice = next((help_ for sign, help_ in ADVICE.items() if sign in str(error)), OTHERWISE)
        yield SUBJECT.error(f"Convex at {url}: {error}", advice)
    else:
        yield SUBJECT.ok("it takes store.admin_key, and has the functions")
        yield callers.judge(keys, settings)
