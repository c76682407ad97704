"""The second level as a Redis server, which many servers share."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar, cast

from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    RedisError,
    ResponseError,
)

from embedsvc.cache.level import Measure, is_cleared
from embedsvc.config.cache import CacheSettings
from embedsvc.store.protocols import StoreAwayError, StoreRefusedError

PREFIX = "embedsvc:1:"
"""Of the keys of rows; a row that this release cannot read needs another number."""

GENERATION = "embedsvc:generation"
"""The key of what `clear` changes, which it leaves."""

CONNECT_SECONDS = 1.0
CALL_SECONDS = 2.0
"""How long a connection and an answer may take; whoever asks for a request gives up long before."""

CONNECTIONS = 32
AT_ONCE = 1_000
"""Keys of one step of `clear`, so that others' commands get in between."""

T = TypeVar("T")
Password = Callable[[], str]


class RedisLevel:
    """See `level.Level`. Open it with `open_redis_level`."""

    def __init__(self, redis: "aioredis.Redis", url: str) -> None:
        self._redis = redis
        self._url = url
        self._room = asyncio.Semaphore(CONNECTIONS)

    @property
    def name(self) -> str:
        """See Level."""
        return f"Redis at {self._url}"

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """See Level."""
        found = await self._ask(lambda: self._redis.mget([PREFIX + key for key in keys]))
        pairs = zip(keys, cast("Sequence[bytes | None]", found), strict=True)
        return {key: data for key, data in pairs if data is not None}

    async def set_many(self, rows: Mapping[str, bytes], seconds: float, generation: str | None = None) -> int:
        """See Level; Redis makes room by itself, as `maxmemory-policy` says.

        What is on its way in the moment that it is cleared is kept.
        """
        if generation is not None and is_cleared(await self.generation(), generation):
            return 0
        pipeline = self._redis.pipeline(transaction=False)
        for key, data in rows.items():
            pipeline.set(PREFIX + key, data, px=max(1, int(seconds * 1000)))
        await self._ask(pipeline.execute)
        return 0

    async def clear(self) -> int:
        """See Level."""
        await self._renew()  # first: what waits to be written does not come from now on
        count = cursor = 0
        while True:
            cursor, keys = await self._ask(partial(self._redis.scan, cursor, f"{PREFIX}*", AT_ONCE))
            if keys:
                count += await self._ask(partial(self._redis.unlink, *keys))
            if not cursor:
                break
        await self._renew()  # and last: what servers have read until now they forget then
        return count

    async def generation(self) -> str:
        """See Level."""
        found = cast("bytes | None", await self._ask(lambda: self._redis.get(GENERATION)))
        return (found or b"").decode("ascii", "replace")

    async def measure(self) -> Measure:
        """See Level; of the whole server, whoever's its keys are."""
        found = await self._ask(lambda: self._redis.info("memory"))
        keys = await self._ask(self._redis.dbsize)
        others = await self._ask(lambda: self._redis.exists(GENERATION))
        return Measure(keys - others, found["used_memory"], found.get("maxmemory") or None)

    async def upkeep(self) -> None:
        """See Level; Redis does that by itself."""

    async def _renew(self) -> None:
        """Have another generation."""
        await self._ask(lambda: self._redis.set(GENERATION, secrets.token_hex(8)))

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Wait for room, then for an answer."""
        async with self._room:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    return await ask()
            except (AuthenticationError, AuthorizationError, BusyLoadingError) as error:
                raise StoreAwayError(f"Redis: {error}") from error
            except ResponseError as error:
                raise StoreRefusedError(f"Redis: {error}") from error
            except (RedisError, OSError) as error:
                raise StoreAwayError(f"Redis: {str(error) or type(error).__name__}") from error


@asynccontextmanager
async def open_redis_level(settings: CacheSettings, password: Password | None) -> AsyncIterator[RedisLevel]:
    """Keep connections to Redis while the context is open; the first call makes the first.

    Args:
        settings: Where it is.
        password: Returns the password, as it is now; None: there is none.
    """
    async with connect(settings, password) as redis:
        yield RedisLevel(redis, settings.url)


@asynccontextmanager
async def connect(settings: CacheSettings, password: Password | None) -> AsyncIterator["aioredis.Redis"]:
    """A client of Redis, without any second try: see `open_redis_level`."""
    options: dict[str, Any] = {"ssl_ca_certs": str(settings.ca)} if settings.ca else {}
    if password or settings.user:
        options["credential_provider"] = _Credentials(settings.user, password)
    pool = aioredis.ConnectionPool.from_url(
        settings.url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=None,  # it uses asyncio.wait_for, which until Python 3.12 loses cancellations
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,  # one message less at the start of a connection
        **options,
    )
    async with aioredis.Redis.from_pool(pool) as redis:
        yield redis


class _Credentials(CredentialProvider):
    """Is asked at the start of every connection: a password that was changed is taken from then on."""

    def __init__(self, user: str | None, password: Password | None) -> None:
        self._user = user
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """See redis.credentials."""
        password = self._password() if self._password else ""
        return (self._user, password) if self._user else (password,)


def parse_password(content: bytes) -> str:
    """Read Redis's password. Raises ValueError where it is no text."""
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
