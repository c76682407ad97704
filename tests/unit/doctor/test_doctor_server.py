"""server: what it says of itself, and what its counters give away."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc
from patient import levels, only

from embedsvc.doctor.server import look
from embedsvc.metrics import Metrics, serve_metrics

SERVING, NOT_SERVING = 1, 2


@contextmanager
def answering(patient, status):
    """A server with our certificates that says a status."""
    servicer = health.HealthServicer()
    servicer.set("embedsvc.v1.OpenAIService", status)
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        state = patient.state
        pair = state.read("server.key"), state.read("server.crt")
        credentials = grpc.ssl_server_credentials([pair], state.read("ca.crt"), require_client_auth=True)
        server.add_secure_port(patient.settings.server.address, credentials)
        server.start()
        yield
        server.stop(None).wait()


@pytest.fixture
def counted(patient):
    """The series of a server that serves one model, while they can be read."""
    metrics = Metrics()
    metrics.model_ready.labels("all-MiniLM-L6-v2").set(1)
    with serve_metrics(metrics.registry, patient.settings.metrics), answering(patient, SERVING):
        yield metrics


async def test_where_none_runs_that_is_a_note(patient):
    (told,) = await patient.examine_waiting(look)
    assert told.level == "note"
    assert f"nothing listens at 127.0.0.1:{patient.settings.server.port}" in told.seen


async def test_one_that_serves_is_well_with_the_time_that_its_answer_took(patient, counted):
    health_, ready = await patient.examine_waiting(look)
    assert levels([health_, ready]) == {"ok"}
    assert "is SERVING, by gRPC with mTLS, within " in health_.seen
    assert ready.seen == "ready: all-MiniLM-L6-v2"


async def test_one_that_does_not_serve_is_an_error(patient, counted):
    with answering(other := patient.having("server", port=patient.settings.edge.port), NOT_SERVING):
        told = only(await other.examine_waiting(look), "error")
    assert told.seen.endswith("says NOT_SERVING")
    assert "it drains" in told.advice


async def test_one_that_does_not_take_our_certificate_is_an_error(patient, counted):
    stranger = {"certificate": patient.path("stranger.crt"), "key": patient.path("stranger.key")}
    told = only(await patient.having("edge", **stranger).examine_waiting(look), "error")
    assert "is open, and cannot be asked: UNAVAILABLE: " in told.seen
    assert "certificates" in told.advice


async def test_another_program_on_its_port_is_an_error(patient):
    async def slam(_reader, writer):
        writer.close()

    async with await asyncio.start_server(slam, "127.0.0.1", patient.settings.server.port):
        told = only(await patient.examine_waiting(look), "error")
    assert "another program" in told.advice


async def test_one_without_its_page_of_metrics_is_an_error(patient):
    with answering(patient, SERVING):
        told = only(await patient.examine_waiting(look), "error")
    assert told.seen == f"there is no page of metrics at port {patient.settings.metrics.port}"


async def test_a_model_that_cannot_answer_is_an_error(patient, counted):
    counted.model_ready.labels("gte-large").set(0)
    assert only(await patient.examine_waiting(look), "error").seen == "gte-large cannot answer"


async def test_replicas_that_were_lost_are_a_warning(patient, counted):
    counted.engine("all-MiniLM-L6-v2").restarts.inc(3)
    told = only(await patient.examine_waiting(look), "warning")
    assert told.seen == "embeddings_replica_restarts_total all-MiniLM-L6-v2: 3 since the start"
    assert "`replica lost`" in told.advice


async def test_a_store_that_was_away_is_a_warning_for_each_that_missed_it(patient, counted):
    counted.key_failures.inc()
    counted.limits.failures.inc()
    outbox = counted.outbox("requests")
    outbox.failures.inc()
    outbox.dropped.inc(200)
    outbox.kept.inc(1000)
    found = [each for each in await patient.examine_waiting(look) if each.level == "warning"]
    assert {each.seen for each in found} == {
        "embeddings_key_lookup_failures_total: 1 since the start",
        "embeddings_limits_failures_total: 1 since the start",
        "embeddings_ledger_failures_total requests: 1 since the start",
        "embeddings_ledger_rows_total dropped requests: 200 since the start",
    }
    assert {each.advice[:19] for each in found} == {"The store was away,"}
