"""What a query of Prometheus asks for, by Prometheus's own grammar; and what an endpoint has."""

from __future__ import annotations

import re
from dataclasses import dataclass

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@dataclass(frozen=True)
class Selector:
    """A series that is asked for, and the labels that it must have."""

    name: str
    labels: frozenset[str]


def selectors(query: str) -> list[Selector]:
    """All series of a query, which must parse; Grafana's own variables stand for a length of time."""
    found: list[Selector] = []

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            labels = frozenset(matcher.name for matcher in node.matchers.matchers)
            found.append(Selector(node.name, labels))

    promql_parser.walk(promql_parser.parse(query.replace("$__rate_interval", "1m")), visit)
    return found


def grouped_by(query: str) -> set[str]:
    """The labels by which a query sums up."""
    return {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}


def exposed(text: str, *, suffixed: bool) -> dict[str, set[str]]:
    """The names of all series of an endpoint, each with its labels, as far as it has any.

    Args:
        suffixed: Whether counters end in `_total`, as those of Prometheus's own clients do.
    """
    series: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        endings = ENDINGS[family.type] if suffixed or family.type != "counter" else ("",)
        for name in (family.name + ending for ending in endings):
            series.setdefault(name, set())
        for sample in family.samples:
            series.setdefault(sample.name, set()).update(sample.labels)
    return series
