"""The series of several processes, shown as those of one.

Each process that answers counts in files (prometheus_client's multiprocess mode) that are named by its
number: one that is started in place of another counts on from where that ended. The process that starts them
adds them up.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from embedsvc.metrics import Metrics

OWNED = frozenset(
    {
        "embeddings_replica_restarts",
        "embeddings_replicas_ready",
        "embeddings_gpu_memory_bytes",
        "embeddings_model_ready",
        "embeddings_model_loads",
        "embeddings_model_load_seconds",
        "embeddings_model_evictions",
        "embeddings_machine_usd",
    }
)
"""What is known of replicas and of the machine: their owner's word counts, and no guest's."""


def count_in_files(folder: Path, number: int) -> None:
    """Have every series that this process makes from now on kept in a folder, under a number."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: number)


def publish(metrics: Metrics) -> None:
    """Write down what is only looked up when asked: the files hold no functions."""
    for gauge in (metrics.queue_tokens, metrics.admitted_tokens):
        for family in gauge.collect():
            for sample in family.samples:
                (gauge.labels(**sample.labels) if sample.labels else gauge).set(sample.value)


def forget(folder: Path, number: int) -> None:
    """Show no more what a process that has ended had under way; what it counted stays."""
    mark_process_dead(number, str(folder))


def add_up(metrics: Metrics, folder: Path) -> CollectorRegistry:
    """Return a registry that shows the owner's word on its series, and the sums of the others' ones.

    Args:
        metrics: The owner's.
        folder: Where the others count.
    """
    registry = CollectorRegistry()
    registry.register(_Sums(metrics.registry, folder))
    return registry


class _Sums:
    def __init__(self, owned: CollectorRegistry, folder: Path) -> None:
        self._owned = owned
        self._files = MultiProcessCollector(None, str(folder))

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        yield from (family for family in self._owned.collect() if family.name in OWNED)
        yield from (family for family in self._files.collect() if family.name not in OWNED)
