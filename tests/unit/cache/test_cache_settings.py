"""config.cache: what is Redis's needs Redis, and what is TLS's needs TLS."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from embedsvc.config.cache import CacheSettings

TLS = "rediss://redis.internal:6379/0"
OF_REDIS = {"user": "embedsvc", "password": "file:/run/secrets/redis", "ca": Path("/run/secrets/ca.crt")}


@pytest.mark.parametrize("name", OF_REDIS)
@pytest.mark.parametrize("second", ["sqlite", "none"])
def test_what_is_of_redis_needs_redis(name, second):
    with pytest.raises(ValidationError, match=rf'{name} is Redis\'s, and needs second = "redis"'):
        CacheSettings(second=second, url=TLS, **{name: OF_REDIS[name]})


def test_a_ca_needs_tls():
    with pytest.raises(ValidationError, match="needs a url that begins with rediss://"):
        CacheSettings(second="redis", ca=OF_REDIS["ca"])


def test_with_redis_and_tls_all_of_it_is_taken():
    settings = CacheSettings(second="redis", url=TLS, **OF_REDIS)
    assert (settings.user, settings.ca) == (OF_REDIS["user"], OF_REDIS["ca"])
