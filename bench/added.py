"""What rounds directly and through Envoy come to."""

from collections.abc import Sequence

from figures import ratio
from report import Measurement

DIRECT, BALANCED, HTTP = "gRPC", "gRPC through Envoy", "OpenAI's JSON through Envoy"
MOST_RATIO = 1.2
CALLERS = 16
SIXTEEN = f"{CALLERS} callers"


def holds(found: Sequence[Measurement]) -> bool:
    """Whether Envoy's price is right, for gRPC and for JSON, and every call was answered."""
    direct = rounds_of(found, SIXTEEN, DIRECT, "p50")
    added = [ratio(rounds_of(found, SIXTEEN, way, "p50"), direct).median for way in (BALANCED, HTTP)]
    return max(added) <= MOST_RATIO and not sum(one.figures.metric("failures") for one in found)


def rounds_of(found: Sequence[Measurement], scenario: str, subject: str, metric: str) -> list[float]:
    """A metric by round."""
    some = [one for one in found if (one.scenario, one.subject) == (scenario, subject)]
    return [one.figures.metric(metric) for one in sorted(some, key=lambda one: one.round)]
