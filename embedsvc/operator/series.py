"""What the running server of this machine counts: its page of metrics, read."""

from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from embedsvc.config import MetricsSettings, reachable

SECONDS = 5.0
"""How long the page may take."""

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name and labels."""


async def read_series(settings: MetricsSettings) -> Series | None:
    """Read the page; None where no server answers."""
    url = f"http://{reachable(settings.host)}:{settings.port}/metrics"
    try:
        async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as http:
            page = (await http.get(url)).raise_for_status().text
        families = list(text_string_to_metric_families(page))
    except (httpx.HTTPError, ValueError):  # nobody, or another program
        return None
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value_of(series: Series, name: str, **labels: str) -> float:
    """The value of one series; 0 where it is not there, since nothing was counted."""
    return series.get((name, frozenset(labels.items())), 0.0)
