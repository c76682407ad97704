"""Redis as the cache's second level: whether it answers, takes the password, and makes room by itself."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

from redis.exceptions import RedisError, ResponseError

from embedsvc.cache.redis import PREFIX, Password, connect
from embedsvc.config import Settings
from embedsvc.config.cache import CacheSettings
from embedsvc.doctor.edge import SECONDS
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.errors import ConfigurationError
from embedsvc.secret.keeper import open_secrets
from embedsvc.trust import CACHE_PASSWORD, parsers

MEBIBYTE = 2**20
WITHOUT = "Until then the server goes on without it, and computes what it does not have in memory"

ADVICE = {
    "invalid username-password": "Put the password of cache.user where cache.password says",
    "Authentication required": "Set cache.password, and cache.user where it is not the default one",
    "CERTIFICATE_VERIFY_FAILED": "Set cache.ca to the CA of its certificate, and cache.url to a name in it",
}
"""What helps, by what Redis or TLS says."""

RIGHTS = "Let cache.user do what docs/cache.md lists"
OTHERWISE = "Start it, or correct cache.url"


async def look_at(settings: Settings, subject: Subject) -> AsyncGenerator[Finding, None]:
    """Ask it what it is. Nothing is written, and no row is read."""
    ref = settings.cache.password
    refs = {CACHE_PASSWORD: ref} if ref else {}
    try:
        async with open_secrets(refs, settings.vault, settings.aws, parsers(settings)) as secrets:
            secret = secrets.get(CACHE_PASSWORD)
            password = (lambda: str(secret.meaning)) if secret else None
            async for finding in _ask(settings.cache, password, subject):
                yield finding
    except ConfigurationError:
        yield subject.note("Redis was not asked: see cache.password among the secrets")


async def _ask(
    settings: CacheSettings, password: Password | None, subject: Subject
) -> AsyncGenerator[Finding, None]:
    url = settings.url
    try:
        async with asyncio.timeout(SECONDS), connect(settings, password) as redis:
            await redis.mget([f"{PREFIX}doctor"])
            info: Mapping[str, Any] = await redis.info()
    except (RedisError, OSError) as error:
        said = str(error) or type(error).__name__
        otherwise = RIGHTS if isinstance(error, ResponseError) else OTHERWISE
        advice = next((help_ for sign, help_ in ADVICE.items() if sign in said), otherwise)
        yield subject.error(f"Redis at {url}: {said}", f"{advice}. {WITHOUT}")
        return
    yield subject.ok(f"Redis at {url} answers: version {info.get('redis_version')}")
    for finding in _judge(info, subject):
        yield finding


def _judge(info: Mapping[str, Any], subject: Subject) -> Iterator[Finding]:
    if info.get("role") != "master":
        yield subject.error("it is a replica, and takes no vectors", "Set cache.url to the primary")
    bound, used, policy = (info.get(name) for name in ("maxmemory", "used_memory", "maxmemory_policy"))
    if bound is None or used is None:  # a provider's Redis may keep it to itself
        return
    if not bound:
        yield subject.warning(
            "its memory has no bound: it grows until the machine's is used up",
            "Set maxmemory, and maxmemory-policy allkeys-lru: docs/cache.md",
        )
    elif policy == "noeviction":
        yield subject.warning(
            f"when its {bound / MEBIBYTE:,.0f} MiB are used up it takes no more vectors: maxmemory-policy is "
            "noeviction",
            "Set maxmemory-policy allkeys-lru: docs/cache.md",
        )
    else:
        yield subject.ok(f"{used / MEBIBYTE:,.0f} of {bound / MEBIBYTE:,.0f} MiB are used; then: {policy}")
