"""added: when Envoy adds little enough."""

import pytest
from added import BALANCED, DIRECT, HTTP, SIXTEEN, holds
from figures import Figures
from report import Measurement


def seen(number, subject, p50, **errors):
    figures = Figures(5.0, 1000, 1000, 16_000, {"p50": p50}, errors, {"program": 1.0})
    return Measurement(number, SIXTEEN, subject, figures)


ROUNDS = [
    *(seen(number, DIRECT, p50) for number, p50 in enumerate((10.0, 20.0, 30.0))),
    *(seen(number, BALANCED, p50) for number, p50 in enumerate((11.9, 22.0, 60.0))),
    *(seen(number, HTTP, p50) for number, p50 in enumerate((12.5, 23.9, 20.0))),
]


def test_it_holds_where_most_rounds_add_a_fifth_at_most():
    assert holds(ROUNDS)


@pytest.mark.parametrize(
    "other",
    [seen(1, BALANCED, 25.0), seen(1, HTTP, 25.0), seen(1, BALANCED, 22.0, UNAVAILABLE=1)],
    ids=["gRPC is slower", "JSON is slower", "a failure"],
)
def test_it_does_not_where_they_add_more_or_a_call_failed(other):
    replaced = [other if (one.round, one.subject) == (1, other.subject) else one for one in ROUNDS]
    assert not holds(replaced)
