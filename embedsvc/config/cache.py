"""What is kept of answers, so that the same text is not computed twice."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from embedsvc.config.base import Positive, Seconds, Section
from embedsvc.secret.reference import Reference


class CacheSettings(Section):
    """`[cache]`: vectors of texts that were seen before."""

    enabled: bool = True
    """Whether anything is kept at all."""
    memory_bytes: Annotated[int, Field(ge=0)] = 268_435_456
    """Bytes of memory for the first level, over all processes of a server; what was not used for longest goes
    first. A vector of 384 dimensions takes about 2 KB."""
    second: Literal["sqlite", "redis", "none"] = "sqlite"
    """The second level, which outlives a restart. `sqlite`: a file on this machine. `redis`: a server that
    many replicas share. `none`: there is none."""
    path: Path = Path(".run/cache.db")
    """SQLite's file."""
    disk_bytes: Positive = 4_294_967_296
    """Bytes of SQLite's file; the oldest vectors go when there are more. Redis has a bound of its own."""
    url: Annotated[str, Field(pattern=r"^rediss?://[^\s/@?#]+(/[0-9]+)?$")] = "redis://localhost:6379/0"
    """Redis's address, without a user and a password; `rediss://` with TLS."""
    user: str | None = None
    """Redis's user; not set: the default one."""
    password: Reference | None = None
    """Where Redis's password is."""
    ca: Path | None = None
    """The CA of Redis's certificate; not set: those that the system trusts."""
    ttl_days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    """Days that a vector is kept."""
    wait_seconds: Seconds = 0.1
    """How long a request waits for the second level before its texts are computed."""
    scope: Literal["all", "key"] = "all"
    """Who gets what was computed for whom. `all`: whoever sends the same text; who measures times can tell
    that somebody had sent it before. `key`: only the same key, or identity where there is no key."""

    @model_validator(mode="after")
    def _what_is_of_redis_needs_redis(self) -> Self:
        for name in ("user", "password", "ca"):
            if self.second != "redis" and getattr(self, name) is not None:
                raise ValueError(f'{name} is Redis\'s, and needs second = "redis"')
        if self.ca and not self.url.startswith("rediss://"):
            raise ValueError("ca is for TLS, and needs a url that begins with rediss://")
        return self
