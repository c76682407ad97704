"""health: what is told of an engine, and when."""

from types import SimpleNamespace

import pytest
from grpc_health.v1 import health_pb2

from embedsvc.health import LIVENESS, SERVICES, report_health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def reporter():
    async with report_health() as reporter:
        yield reporter


def engine(*, ready):
    return SimpleNamespace(primary=SimpleNamespace(ready=ready))


async def told(reporter, services=SERVICES):
    """What the health service answers, for every service the same."""
    await reporter.update()
    answers = [
        await reporter.servicer.Check(health_pb2.HealthCheckRequest(service=s), None) for s in services
    ]
    (status,) = {answer.status for answer in answers}
    return status


async def test_nothing_serves_before_there_is_an_engine(reporter):
    assert await told(reporter) == NOT_SERVING
    assert not reporter.serving


async def test_all_serve_while_the_primary_model_can_answer(reporter):
    await reporter.follow(engine(ready=True))
    assert await told(reporter) == SERVING
    await reporter.follow(engine(ready=False))
    assert await told(reporter) == NOT_SERVING
    await reporter.follow(engine(ready=True))
    assert await told(reporter) == SERVING


async def test_a_drain_is_the_end_of_it(reporter):
    await reporter.follow(engine(ready=True))
    assert await told(reporter) == SERVING
    reporter.draining = True
    assert await told(reporter) == NOT_SERVING


async def test_whoever_answers_is_alive_whatever_the_engine_says(reporter):
    assert await told(reporter, [LIVENESS]) == SERVING
    await reporter.follow(engine(ready=False))
    assert await told(reporter, [LIVENESS]) == SERVING
    reporter.draining = True
    assert await told(reporter, [LIVENESS]) == SERVING
