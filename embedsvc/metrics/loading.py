"""The series of models that come and go."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram

SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


@dataclass(frozen=True, slots=True)
class LoadingMetrics:
    """The series of models that come and go.

    Attributes:
        loads: Loads by model and result: "loaded", "failed", or "refused" where there was no memory for it.
        seconds: Time of a load that went well, room made for it included.
        evictions: Models that were unloaded to make room for another.
        reloads: Configurations read anew, by result: "applied" or "failed".
    """

    loads: Counter
    seconds: Histogram
    evictions: Counter
    reloads: Counter


def loading_metrics(registry: CollectorRegistry) -> LoadingMetrics:
    """Make them in a registry."""
    return LoadingMetrics(
        loads=Counter(
            "embeddings_model_loads", "Loads of a model, by result.", ["model", "result"], registry=registry
        ),
        seconds=Histogram(
            "embeddings_model_load_seconds",
            "Time of a load that went well.",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        ),
        evictions=Counter(
            "embeddings_model_evictions",
            "Models that were unloaded to make room for another.",
            ["model"],
            registry=registry,
        ),
        reloads=Counter(
            "embeddings_reloads", "Configurations read anew, by result.", ["result"], registry=registry
        ),
    )
