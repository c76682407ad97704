"""The series of the cache."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


@dataclass(frozen=True, slots=True)
class CacheMetrics:
    """The series of the cache; `level` is "memory" or "second".

    Attributes:
        lookups: Texts by where their vectors came from: "memory", "second", "joined" (computed for another
            that asked at the same time), "miss", and "off" where the caller wanted no cache.
        seconds: Time of an operation on the second level, "get" or "set".
        failures: Operations on the second level that failed or took too long, "get" or "set".
        corrupt: Rows of the second level that were not what they should be, and so passed over.
        dropped: Rows that were not written to the second level, because too many waited.
        evicted: Rows that had to make room, by level.
        held_bytes: Bytes held, by level.
        rows: Rows held, by level.
        away: 1 while the second level is left alone because it failed, else 0.
    """

    lookups: Counter
    seconds: Histogram
    failures: Counter
    corrupt: Counter
    dropped: Counter
    evicted: Counter
    held_bytes: Gauge
    rows: Gauge
    away: Gauge


def cache_metrics(registry: CollectorRegistry) -> CacheMetrics:
    """Make them in a registry."""
    return CacheMetrics(
        lookups=Counter(
            "embeddings_cache_lookups",
            "Texts by where their vectors came from.",
            ["result"],
            registry=registry,
        ),
        seconds=Histogram(
            "embeddings_cache_seconds",
            "Time of an operation on the cache's second level.",
            ["operation"],
            buckets=SECONDS,
            registry=registry,
        ),
        failures=Counter(
            "embeddings_cache_failures",
            "Operations on the cache's second level that failed, or took too long.",
            ["operation"],
            registry=registry,
        ),
        corrupt=Counter(
            "embeddings_cache_corrupt_rows",
            "Rows of the cache's second level that were not what they should be.",
            registry=registry,
        ),
        dropped=Counter(
            "embeddings_cache_dropped_rows",
            "Rows that were not written to the cache's second level, because too many waited.",
            registry=registry,
        ),
        evicted=Counter(
            "embeddings_cache_evictions",
            "Rows that had to make room in the cache.",
            ["level"],
            registry=registry,
        ),
        held_bytes=_gauge(registry, "embeddings_cache_bytes", "Bytes that the cache holds.", "level"),
        rows=_gauge(registry, "embeddings_cache_rows", "Vectors that the cache holds.", "level"),
        away=Gauge(
            "embeddings_cache_second_level_away",
            "1 while the cache's second level is left alone because it failed.",
            registry=registry,
            multiprocess_mode="livemax",
        ),
    )


def _gauge(registry: CollectorRegistry, name: str, text: str, label: str) -> Gauge:
    return Gauge(name, text, [label], registry=registry, multiprocess_mode="livesum")
