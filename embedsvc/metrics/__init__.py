"""Every Prometheus series of the service, and the endpoint that shows them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from embedsvc.config import MetricsSettings
from embedsvc.errors import ConfigurationError
from embedsvc.metrics.cache import cache_metrics
from embedsvc.metrics.cost import CostMetrics
from embedsvc.metrics.loading import loading_metrics
from embedsvc.metrics.routing import provider_metrics, route_metrics

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
TOKENS = (8, 32, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536)


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """The series of one model's engine."""

    batch_texts: Histogram
    batch_tokens: Histogram
    batch_failures: Counter
    queue_tokens: Gauge
    restarts: Counter


@dataclass(frozen=True, slots=True)
class OutboxMetrics:
    """The series of rows on their way to the store."""

    kept: Counter
    dropped: Counter
    failures: Counter


@dataclass(frozen=True, slots=True)
class LimitMetrics:
    """The series of shared limits."""

    opened: Counter
    late: Counter
    failures: Counter


class Metrics:
    """All series, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "embeddings_requests",
            "Calls by RPC and gRPC status code.",
            ["rpc", "code"],
            registry=registry,
        )
        self.errors = Counter(
            "embeddings_errors",
            "Failed calls and stream items by reason.",
            ["reason"],
            registry=registry,
        )
        self.duration = Histogram(
            "embeddings_duration_seconds",
            "Time of a call.",
            ["rpc"],
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "embeddings_in_flight",
            "Calls under way.",
            ["rpc"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.texts = Counter("embeddings_texts", "Texts answered.", ["model"], registry=registry)
        self.tokens = Counter(
            "embeddings_tokens",
            "Tokens that models read for answered texts.",
            ["model"],
            registry=registry,
        )
        self.cache = cache_metrics(registry)
        self.providers = provider_metrics(registry)
        self.routes = route_metrics(registry)
        self.loading = loading_metrics(registry)
        self.cost = CostMetrics(registry)
        self._batch_texts = Histogram(
            "embeddings_batch_size",
            "Texts of a batch.",
            ["model"],
            buckets=TEXTS,
            registry=registry,
        )
        self._batch_tokens = Histogram(
            "embeddings_batch_tokens",
            "Tokens of a batch.",
            ["model"],
            buckets=TOKENS,
            registry=registry,
        )
        self._batch_failures = Counter(
            "embeddings_batch_failures",
            "Batches that an encoder failed.",
            ["model"],
            registry=registry,
        )
        self.queue_tokens = Gauge(
            "embeddings_queue_tokens",
            "Tokens that wait for a batch.",
            ["model"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.admitted_tokens = Gauge(
            "embeddings_admitted_tokens",
            "Tokens inside the engine by its own estimate, which admission bounds.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._restarts = Counter(
            "embeddings_replica_restarts",
            "Replicas that were lost, or could not be started, and were started again.",
            ["model"],
            registry=registry,
        )
        self.replicas_ready = Gauge(
            "embeddings_replicas_ready",
            "Replicas that can compute.",
            ["model"],
            registry=registry,
        )
        self.gpu_memory = Gauge(
            "embeddings_gpu_memory_bytes",
            "GPU memory that replicas hold.",
            ["device"],
            registry=registry,
        )
        self.limits = _limits(registry)
        self.injections = Counter(
            "embeddings_injections",
            "Texts that looked like prompt injection, by what was done with them and by rule.",
            ["policy", "rule"],
            registry=registry,
        )
        self.auth_failures = Counter(
            "embeddings_auth_failures",
            "Callers that were not let in, by reason.",
            ["reason"],
            registry=registry,
        )
        self.key_failures = Counter(
            "embeddings_key_lookup_failures",
            "Look-ups of keys that the store failed, or did not answer in time.",
            registry=registry,
        )
        self._rows = Counter(
            "embeddings_ledger_rows",
            "Rows of the ledger that were kept, or dropped.",
            ["what", "result"],
            registry=registry,
        )
        self._row_failures = Counter(
            "embeddings_ledger_failures",
            "Batches of rows that the store failed; they are sent again.",
            ["what"],
            registry=registry,
        )
        self.model_ready = Gauge(
            "embeddings_model_ready",
            "1 where a model can answer, else 0.",
            ["model"],
            registry=registry,
        )

    def outbox(self, what: str) -> OutboxMetrics:
        """The series of rows of one kind."""
        return OutboxMetrics(
            self._rows.labels(what, "kept"),
            self._rows.labels(what, "dropped"),
            self._row_failures.labels(what),
        )

    def engine(self, model: str) -> EngineMetrics:
        """The engine's series for one model."""
        return EngineMetrics(
            self._batch_texts.labels(model),
            self._batch_tokens.labels(model),
            self._batch_failures.labels(model),
            self.queue_tokens.labels(model),
            self._restarts.labels(model),
        )

    def forget(self, model: str) -> None:
        """Show nothing more of the state of a model that is unloaded; what was counted stays."""
        self.model_ready.remove(model)
        self.replicas_ready.remove(model)
        self.queue_tokens.remove(model)


def _limits(registry: CollectorRegistry) -> LimitMetrics:
    return LimitMetrics(
        opened=Counter(
            "embeddings_limits_open",
            "Requests and tokens that passed by a server's own count, because the store was away.",
            registry=registry,
        ),
        late=Counter(
            "embeddings_limits_late",
            "First uses of a limit that the store did not answer for in time.",
            registry=registry,
        ),
        failures=Counter(
            "embeddings_limits_failures",
            "Leases that the store failed, or did not answer in time.",
            registry=registry,
        ),
    )


@contextmanager
def serve_metrics(registry: CollectorRegistry, settings: MetricsSettings) -> Iterator[None]:
    """Serve a registry as `/metrics` from a thread while the context is open.

    Raises:
        ConfigurationError: The port is taken.
    """
    try:
        server, thread = start_http_server(settings.port, addr=settings.host, registry=registry)
    except OSError as error:
        raise ConfigurationError(
            f"metrics.port: cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
