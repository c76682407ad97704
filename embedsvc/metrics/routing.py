"""The series of other providers, and of names that stand for more than one model."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(frozen=True, slots=True)
class ProviderMetrics:
    """The series of providers.

    Attributes:
        calls: Calls by provider and outcome: "ok", or why they failed.
        seconds: Time of a call, tries that failed included.
        tokens: Tokens of the texts whose vectors were answered.
        usd: What providers asked for what they answered, in US dollars, by the prices of the settings.
        circuit: 0: calls go out (closed); 1: one call tries (half open); 2: it is left alone (open).
    """

    calls: Counter
    seconds: Histogram
    tokens: Counter
    usd: Counter
    circuit: Gauge


@dataclass(frozen=True, slots=True)
class RouteMetrics:
    """The series of routes.

    Attributes:
        answers: Requests by alias and by the model that answered.
        fallbacks: Requests that another model answered than the one that should have.
        shadows: Requests sent to the other side too, by alias, model and outcome: "ok", "failed", "dropped".
        shadow_seconds: Time of such a request, by model.
    """

    answers: Counter
    fallbacks: Counter
    shadows: Counter
    shadow_seconds: Histogram


def provider_metrics(registry: CollectorRegistry) -> ProviderMetrics:
    """Make them in a registry."""
    return ProviderMetrics(
        calls=Counter(
            "embeddings_provider_calls",
            "Calls to other providers, by outcome.",
            ["provider", "outcome"],
            registry=registry,
        ),
        seconds=Histogram(
            "embeddings_provider_seconds",
            "Time of a call to another provider, tries that failed included.",
            ["provider"],
            buckets=SECONDS,
            registry=registry,
        ),
        tokens=Counter(
            "embeddings_provider_tokens",
            "Tokens of the texts whose vectors other providers answered.",
            ["provider"],
            registry=registry,
        ),
        usd=Counter(
            "embeddings_provider_usd",
            "What other providers asked for what they answered, by the prices of the settings.",
            ["provider"],
            registry=registry,
        ),
        circuit=Gauge(
            "embeddings_provider_circuit",
            "0: calls go out. 1: one call tries. 2: the provider is left alone, since calls failed.",
            ["provider"],
            registry=registry,
            multiprocess_mode="livemax",
        ),
    )


def route_metrics(registry: CollectorRegistry) -> RouteMetrics:
    """Make them in a registry."""
    return RouteMetrics(
        answers=Counter(
            "embeddings_route_answers",
            "Requests under an alias with a route, by the model that answered.",
            ["alias", "model"],
            registry=registry,
        ),
        fallbacks=Counter(
            "embeddings_fallbacks",
            "Requests that another model answered than the one that should have.",
            ["alias", "model", "by"],
            registry=registry,
        ),
        shadows=Counter(
            "embeddings_shadow_requests",
            "Requests sent to the other side behind the caller's back.",
            ["alias", "model", "outcome"],
            registry=registry,
        ),
        shadow_seconds=Histogram(
            "embeddings_shadow_seconds",
            "Time of a request sent to the other side behind the caller's back.",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        ),
    )
