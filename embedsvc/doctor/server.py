"""The server of this machine, where it runs: its health over mTLS, and what its metrics say."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from embedsvc.config import Settings, reachable
from embedsvc.doctor import edge
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.healthcheck import find_fault

SUBJECT = Subject("server")
OWN = "embeddings_requests"
"""A series that no other program has."""

STATUSES = {
    "NOT_SERVING": "Models load, no replica of the primary one works, or it drains: its log says which. "
    "Replicas that are lost: docs/operations.md#when-a-replica-fails",
    "SERVICE_UNKNOWN": "A server of another release: start this one",
    "UNKNOWN": "Ask again in a moment",
}
"""What a server of ours may say but SERVING, and what to do then."""

STORE_ADVICE = "The store was away, or slow: see what is said of the store here, and the server's log"
SIGNS = {
    "embeddings_replica_restarts_total": "The log says why, as `replica lost`: docs/operations.md",
    "embeddings_key_lookup_failures_total": STORE_ADVICE,
    "embeddings_limits_failures_total": STORE_ADVICE,
    "embeddings_ledger_failures_total": STORE_ADVICE,
    "embeddings_ledger_rows_total": STORE_ADVICE,
}
"""Counters that are 0 where nothing was wrong since the start; of the last one, but for what is `kept`."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the server says of itself.

    Attributes:
        fault: Why it cannot be used; None where it can.
        seconds: What the answer took, the handshake counted.
    """

    fault: str | None
    seconds: float

    @property
    def is_ours(self) -> bool:
        """Whether it is a server of this service, well or not."""
        return self.fault is None or self.fault in STATUSES


async def ask(settings: Settings) -> Health:
    """Ask as a container's health check does."""
    began = time.monotonic()
    fault = await asyncio.to_thread(find_fault, settings)
    return Health(fault, time.monotonic() - began)


async def read_metrics(settings: Settings) -> str | None:
    """The page of metrics; None where nothing is there, or another program's page."""
    metrics = settings.metrics
    try:
        async with edge.pages(reachable(metrics.host), metrics.port) as http:
            page = (await http.get("/metrics")).text
    except httpx.HTTPError:
        return None
    return page if f"# HELP {OWN}" in page else None


async def look(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Ask the server, if there is one."""
    address = f"{reachable(settings.server.host)}:{settings.server.port}"
    if not await _listens(settings):
        yield SUBJECT.note(f"nothing listens at {address}: it does not run here")
        return
    asked = await ask(settings)
    yield _tell(address, asked)
    page = await read_metrics(settings)
    if page is not None:
        for finding in _read(page):
            yield finding
    elif asked.is_ours:
        advice = "Start the server with the settings that the doctor sees: metrics.host, metrics.port"
        yield SUBJECT.error(f"there is no page of metrics at port {settings.metrics.port}", advice)


async def _listens(settings: Settings) -> bool:
    host = reachable(settings.server.host).strip("[]")
    try:
        _, writer = await asyncio.open_connection(host, settings.server.port)
    except OSError:
        return False
    writer.close()
    return True


def _tell(address: str, asked: Health) -> Finding:
    if asked.fault is None:
        return SUBJECT.ok(f"{address} is SERVING, by gRPC with mTLS, within {asked.seconds * 1000:.0f} ms")
    if asked.is_ours:
        return SUBJECT.error(f"{address} says {asked.fault}", STATUSES[asked.fault])
    return SUBJECT.error(
        f"{address} is open, and cannot be asked: {asked.fault}",
        "Where certificates and ports are well here, what listens is another program, or hangs: its log, or "
        f"`ss -ltnp 'sport = :{address.rpartition(':')[2]}'`",
    )


def _read(page: str) -> Iterator[Finding]:
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    ready = {each.labels["model"]: each.value for each in samples if each.name == "embeddings_model_ready"}
    for model in (model for model, value in ready.items() if not value):
        yield SUBJECT.error(f"{model} cannot answer", STATUSES["NOT_SERVING"])
    well = [model for model, value in ready.items() if value]
    if well:
        yield SUBJECT.ok(f"ready: {', '.join(well)}")
    for each in samples:
        if each.name in SIGNS and each.value and each.labels.get("result") != "kept":
            labels = "".join(f" {value}" for value in each.labels.values())
            yield SUBJECT.warning(f"{each.name}{labels}: {each.value:g} since the start", SIGNS[each.name])
