"""The series of money: what the machine costs, and what OpenAI would have asked instead."""

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from embedsvc import prices
from embedsvc.config import CostSettings
from embedsvc.periods import HOUR


class CostMetrics:
    """What tokens would have cost at OpenAI."""

    def __init__(self, registry: CollectorRegistry) -> None:
        usd = Counter(
            "embeddings_openai_usd",
            "What OpenAI would have asked for the tokens that models of this machine answered.",
            ["price"],
            registry=registry,
        )
        self._small, self._large = usd.labels("3-small"), usd.labels("3-large")

    def answered(self, tokens: int) -> None:
        """Count what a model of this machine answered: a provider's tokens are paid for, and save nothing."""
        self._small.inc(prices.cost(tokens, prices.SMALL))
        self._large.inc(prices.cost(tokens, prices.LARGE))


class _Machine(Collector):
    """Grows with the time, whether anybody looks or not."""

    def __init__(self, usd_per_hour: float, clock: Callable[[], float]) -> None:
        self._usd_per_second = usd_per_hour / HOUR
        self._clock = clock
        self._started = clock()

    def collect(self) -> Iterator[CounterMetricFamily]:
        """See Collector."""
        usd = (self._clock() - self._started) * self._usd_per_second
        text = "What this machine has cost since the service was started."
        yield CounterMetricFamily("embeddings_machine_usd", text, value=usd)


def count_machine(
    registry: CollectorRegistry, settings: CostSettings, clock: Callable[[], float] = time.monotonic
) -> None:
    """Count what the machine costs from now on, where the settings say what an hour does.

    Of several processes on one machine, one does.

    Args:
        registry: Where it is shown.
        settings: What an hour costs.
        clock: Tells seconds.
    """
    if settings.usd_per_hour is not None:
        registry.register(_Machine(settings.usd_per_hour, clock))
