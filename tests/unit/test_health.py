"""health: what is told of an engine, and when."""

import asyncio
from types import SimpleNamespace
from unittest.mock import AsyncMock, Mock

import grpc
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


async def test_each_provider_serves_while_its_circuit_is_closed(reporter):
    states = {"openai": "closed", "lab": "closed"}
    await reporter.follow(engine(ready=True), states.items)
    assert await told(reporter, ["embedsvc.provider.openai", "embedsvc.provider.lab"]) == SERVING
    for state in ("open", "half_open"):
        states["openai"] = state
        assert await told(reporter, ["embedsvc.provider.openai"]) == NOT_SERVING
        assert await told(reporter, ["embedsvc.provider.lab"]) == SERVING
        assert await told(reporter) == SERVING
    states["openai"] = "closed"
    assert await told(reporter, ["embedsvc.provider.openai"]) == SERVING


async def test_a_provider_that_there_is_none_of_is_unknown(reporter):
    await reporter.follow(engine(ready=True), {"openai": "closed"}.items)
    context = Mock(abort=AsyncMock(side_effect=LookupError))
    with pytest.raises(LookupError):
        await reporter.servicer.Check(health_pb2.HealthCheckRequest(service="embedsvc.provider.lab"), context)
    context.abort.assert_awaited_once_with(grpc.StatusCode.NOT_FOUND)


async def test_a_drain_and_a_model_that_is_down_say_nothing_of_a_provider(reporter):
    await reporter.follow(engine(ready=False), {"openai": "closed"}.items)
    assert await told(reporter, ["embedsvc.provider.openai"]) == SERVING
    reporter.draining = True
    assert await told(reporter, ["embedsvc.provider.openai"]) == SERVING


async def test_who_watches_a_provider_is_told_of_changes_alone(reporter):
    states, answers = {"openai": "closed"}, asyncio.Queue()
    await reporter.follow(engine(ready=True), states.items)
    request = health_pb2.HealthCheckRequest(service="embedsvc.provider.openai")
    watching = asyncio.create_task(reporter.servicer.Watch(request, Mock(write=answers.put)))
    assert (await answers.get()).status == SERVING
    states["openai"] = "open"
    await reporter.update()
    assert (await answers.get()).status == NOT_SERVING
    states["openai"] = "half_open"
    await reporter.update()
    watching.cancel()
    await asyncio.wait([watching])
    assert answers.empty()
