"""Sums of requests by day, key, identity and model."""

import datetime as dt
from collections.abc import Iterable, Sequence

from embedsvc.periods import DAY
from embedsvc.store.records import RequestRow, UsageRow


def add_up(rows: Iterable[RequestRow]) -> Sequence[UsageRow]:
    """Sum rows, so that many of them are few to write."""
    groups: dict[tuple[int, str, str, str], list[RequestRow]] = {}
    for row in rows:
        groups.setdefault((int(row.at // DAY), row.key, row.identity, row.model), []).append(row)
    return [_sum(group) for group in groups.values()]


def _sum(rows: Sequence[RequestRow]) -> UsageRow:
    first = rows[0]
    return UsageRow(
        day=dt.datetime.fromtimestamp(first.at, dt.UTC).date().isoformat(),
        key=first.key,
        identity=first.identity,
        model=first.model,
        requests=sum(row.requests for row in rows),
        errors=sum(row.requests for row in rows if row.outcome != "OK"),
        inputs=sum(row.inputs for row in rows),
        tokens=sum(row.tokens for row in rows),
        cached=sum(row.cached for row in rows),
        latency_ms=sum(row.latency_ms for row in rows),
        slowest_ms=max(row.latency_ms / row.requests for row in rows),
    )
